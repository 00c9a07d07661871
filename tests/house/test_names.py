"""What files are called: a name tells what is inside, and hides nothing that somebody else imports."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("core", "inference", "ui")
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "manager", "base", "misc"}


def modules(*folders):
    """Every module and package below these folders, as (path from the root, name)."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            named = path.parent if path.stem == "__init__" else path
            yield str(path.relative_to(ROOT)), named.stem


def test_nothing_inside_ui_hides_the_standard_library_or_one_of_our_packages():
    # A page's framework, or `python ui/some/page.py`, puts that folder first on sys.path; what lies in it then wins over everything of its name.
    taken = {"hearth", *OURS, *sys.stdlib_module_names}
    assert [path for path, name in modules("ui") if name in taken and path != "ui/__init__.py"] == []


def test_no_module_has_a_name_that_says_nothing():
    assert [path for path, name in modules(*OURS, "tests") if SAYS_NOTHING & set(name.lower().split("_"))] == []


def test_every_folder_with_modules_is_a_package():
    # A folder without __init__.py is a namespace package, and loses to any regular package of its name on sys.path.
    folders = {path.parent for package in OURS for path in (ROOT / package).rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_tests_are_no_package():
    # tests/ is on sys.path for what tests share; with an __init__.py, tests/core would hide core.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("package", OURS)
def test_no_other_distribution_owns_our_packages(package):
    # pip would let the second one overwrite the first without a word.
    assert set(packages_distributions().get(package, [])) - {"hearth"} == set()
