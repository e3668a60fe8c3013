"""What is written down for TAB and for help, which load nothing, is what the schema says."""

import pytest

from segcli.cli.complete import pipelines
from segcli.cli.complete_keys import COMPONENTS, Chosen, overrides
from segcli.cli.config_app import FromOpt
from segcli.config.earlier.pipelines import PIPELINES
from segcli.config.schema import Run
from segcli.config.sections import DatasetSection, OptimizerSection, SchedulerSection


@pytest.mark.parametrize(
    ("path", "section"),
    [("training.optimizer", OptimizerSection), ("training.scheduler", SchedulerSection), ("dataset", DatasetSection)],
)
def test_a_section_without_a_name_has_the_keys_of_the_default(path, section):
    _, key, default = COMPONENTS[path]
    assert section.model_fields[key].default == default


def test_every_preset_of_augmentation_is_offered_and_accepted():
    offered = [word.partition("=")[2] for word in overrides(Chosen(None, []), "data.augmentation=")]
    assert offered == ["light", "medium", "heavy", "street", "nuclei", "false"]
    kind = type(Run.model_fields["data"].get_default(call_default_factory=True).augmentation)
    for word in offered[:-1]:
        assert kind.model_validate(kind.long_form(word)).preset == word


def test_the_earlier_pipelines_are_those_of_the_translation():
    assert pipelines("") == list(PIPELINES)
    assert FromOpt.__metadata__[0].metavar == " | ".join(PIPELINES)
