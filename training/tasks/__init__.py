"""The models that can be trained: each name with its versions, the oldest first."""

from training.task import Task
from training.tasks import (
    binary_classifier,
    diabetes_progression,
    digits,
    next_word_lstm,
    next_word_rnn,
    running_speed,
    sum_of_three,
    ten_features,
    two_four_one,
)

TASKS: dict[str, tuple[Task, ...]] = {
    "sum_of_three": (sum_of_three.VERSION_1, sum_of_three.VERSION_2),
    "running_speed": (running_speed.VERSION_1,),
    "ten_features": (ten_features.VERSION_1,),
    "diabetes_progression": (diabetes_progression.VERSION_1,),
    "binary_classifier": (binary_classifier.VERSION_1, binary_classifier.VERSION_2),
    "two_four_one": (two_four_one.VERSION_1,),
    "digits": (digits.VERSION_1,),
    "next_word_rnn": (next_word_rnn.VERSION_1,),
    "next_word_lstm": (next_word_lstm.VERSION_1,),
}
