"""Which of the versions that lie on disk are to be served, by the setting that says so."""

import re
from collections.abc import Mapping
from pathlib import Path

from service.errors import SettingsError

Found = Mapping[str, Mapping[int, Path]]
"""Where versions lie, by model name and, ascending, by number."""

_ITEM = re.compile(r"(?P<name>[^:]+):(?P<numbers>[1-9][0-9]{0,17}(\+[1-9][0-9]{0,17})*)")


class Selection:
    """What `versions` selects: the latest of each model, all, or of the models that it names just these.

    `digits:1,binary_classifier:1+2` names them; of any other model the latest is meant. Raises `SettingsError` for
    what cannot be read.
    """

    def __init__(self, setting: str) -> None:
        self.all = setting == "all"
        self._named: dict[str, list[int]] = {}
        if setting in ("latest", "all"):
            return
        for item in setting.split(","):
            found = _ITEM.fullmatch(item.strip())
            if found is None:
                raise SettingsError(
                    f"versions has {item.strip()!r}: expected latest, all, or models with their versions, such as "
                    "digits:1,binary_classifier:1+2"
                )
            if found["name"] in self._named:
                raise SettingsError(f"versions names {found['name']} twice: join its versions by +")
            self._named[found["name"]] = [int(number) for number in found["numbers"].split("+")]

    def of(self, name: str, versions: Mapping[int, Path]) -> dict[str, Path]:
        """Those of a model's versions that are to be served, ascending, by number as it is written."""
        if self.all:
            chosen = list(versions)
        elif name in self._named:
            chosen = [version for version in versions if version in self._named[name]]
        else:
            chosen = [max(versions)] if versions else []
        return {str(version): versions[version] for version in sorted(chosen)}

    def require(self, found: Found) -> None:
        """Raise `SettingsError` where a version that is named is not there."""
        for name, numbers in self._named.items():
            if name not in found:
                raise SettingsError(f"versions names {name!r}, which is no model: the models are {', '.join(found)}")
            for number in numbers:
                if number not in found[name]:
                    there = ", ".join(map(str, found[name]))
                    raise SettingsError(f"versions names {name} version {number}: there is {there}")
