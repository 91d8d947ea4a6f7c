"""The models that can be trained: each name with its versions, the oldest first."""

from training.task import Task
from training.tasks import binary_classifier, sum_of_three

TASKS: dict[str, tuple[Task, ...]] = {
    "sum_of_three": (sum_of_three.VERSION_1,),
    "binary_classifier": (binary_classifier.VERSION_1,),
}
