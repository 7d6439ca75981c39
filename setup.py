"""What pyproject.toml cannot say: the configs at the top are installed inside rminas, where they are found by name."""

from setuptools import find_packages, setup

setup(
    py_modules=["relativistic_nas"],
    packages=[*find_packages(include=["common*", "renas*", "rminas*"]), "rminas.configs"],
    package_dir={"rminas.configs": "configs"},
    package_data={"rminas.configs": ["*.yaml"]},
)
