"""PruneModels: old versions go, and never one that answers, that was deployed last, that an execution still needs, or that is not ours."""

import pytest

from lambdas.prune_models import prune
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker, fault


def run(number: int) -> str:
    return f"whippet-2611{number:02}120000-00{number:02}"


def config(number: int) -> str:
    return f"{run(number)}-00001000"


def model(number: int) -> str:
    return f"{run(number)}-00000000"


def account(versions: int = 8) -> FakeSageMaker:
    """Versions 0 to 7, each a model and its endpoint config, the newest served and deployed."""
    sagemaker = FakeSageMaker()
    for number in range(versions):
        sagemaker.version(run(number))
    sagemaker.serve(config(versions - 1))
    sagemaker.deploy(config(versions - 1))
    return sagemaker


def test_all_but_the_newest_are_deleted_configs_before_their_models() -> None:
    sagemaker = account()
    answer = prune(PROJECT, 5, [], sagemaker)
    assert answer == {"deleted": [config(2), config(1), config(0), model(2), model(1), model(0)], "left": []}
    assert sorted(sagemaker.models) == [model(number) for number in range(3, 8)]
    assert prune(PROJECT, 5, [], sagemaker)["deleted"] == []


def test_fewer_than_are_kept_are_left_alone() -> None:
    assert prune(PROJECT, 5, [], account(3))["deleted"] == []


@pytest.mark.parametrize("status", ["InService", "Updating", "RollingBack"])
def test_an_old_version_that_answers_stays(status: str) -> None:
    sagemaker = account()
    sagemaker.serve(config(0), status, PendingDeploymentSummary={"EndpointConfigName": config(1)})
    prune(PROJECT, 1, [], sagemaker)
    assert sorted(sagemaker.configs) == [config(0), config(1), config(7)]
    assert sorted(sagemaker.models) == [model(0), model(1), model(7)]


def test_the_version_that_was_deployed_last_stays_however_old_it_is() -> None:
    sagemaker = account()
    sagemaker.registry.versions.clear()
    sagemaker.deploy(config(2))
    sagemaker.endpoint = None
    prune(PROJECT, 1, [], sagemaker)
    assert sorted(sagemaker.configs) == [config(2), config(7)]
    assert sorted(sagemaker.models) == [model(2), model(7)]


def test_what_a_running_execution_made_stays() -> None:
    """It may wait for its turn at the endpoint while newer ones overtake it."""
    sagemaker = account()
    prune(PROJECT, 1, [run(3)], sagemaker)
    assert sorted(sagemaker.models) == [model(3), model(7)]


def test_a_model_that_a_kept_config_names_stays() -> None:
    """A model may be older than its config: a second try of CreateEndpointConfig takes the model that is there."""
    sagemaker = account(1)
    sagemaker.model(f"{run(1)}-00000000")
    sagemaker.model(f"{run(1)}-00000001")
    sagemaker.config(f"{run(1)}-00001000", f"{run(1)}-00000000")
    prune(PROJECT, 1, [], sagemaker)
    assert sorted(sagemaker.models) == [model(0), f"{run(1)}-00000000", f"{run(1)}-00000001"]


def test_what_no_execution_of_this_project_made_stays() -> None:
    sagemaker = account()
    strangers = ["whippet-mine", "whippet-2-261101120000-0000-00000000", "whippet-261101120000-0000-00000000-copy"]
    for name in strangers:
        sagemaker.config(name, sagemaker.model(name))
    prune(PROJECT, 1, [], sagemaker)
    assert set(strangers) < set(sagemaker.models)
    assert set(strangers) < set(sagemaker.configs)


def test_what_cannot_be_deleted_is_said_and_the_rest_goes() -> None:
    sagemaker = account()
    sagemaker.refuse(f"delete_model {model(1)}", fault("AccessDeniedException", "you may not"))
    answer = prune(PROJECT, 5, [], sagemaker)
    assert answer["left"] == [f"model {model(1)} could not be deleted: you may not"]
    assert model(0) not in sagemaker.models


def test_where_nobody_knows_what_is_served_nothing_is_deleted() -> None:
    sagemaker = account()
    sagemaker.refuse("describe_endpoint", fault("AccessDeniedException", "you may not"))
    with pytest.raises(Exception, match="you may not"):
        prune(PROJECT, 1, [], sagemaker)
    assert sagemaker.calls == []


def test_keeping_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keep must be at least 1, the version that answers; got 0"):
        prune(PROJECT, 0, [], account())
