"""The manifests for a cluster: what they tell the house it can read, and their pods may do as little as those of the compose files."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from core.settings import PREFIX, read_settings

FOLDER = Path(__file__).parent.parent.parent / "compose" / "kubernetes"
BASE = FOLDER / "base"


def documents(folder):
    """Every manifest that a kustomization names in its own folder."""
    named = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [found for name in named if not name.startswith("..") for found in yaml.safe_load_all((folder / name).read_text("utf-8"))]


MANIFESTS = documents(BASE)
DEPLOYMENTS = {found["metadata"]["name"]: found["spec"] for found in MANIFESTS if found["kind"] == "Deployment"}
PODS = {name: deployment["template"]["spec"] for name, deployment in DEPLOYMENTS.items()}
CONTAINERS = {(pod, one["name"]): one for pod, spec in PODS.items() for one in [*spec.get("initContainers", ()), *spec["containers"]]}


def literals(folder):
    (made,) = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["configMapGenerator"]
    return dict(line.split("=", 1) for line in made["literals"])


@pytest.mark.parametrize("given", [literals(BASE), literals(BASE) | literals(FOLDER / "example")], ids=["base", "example"])
def test_the_house_can_read_what_it_is_told(given):
    settings = read_settings(given | {"HEARTH_RECORDS_URL": "postgresql://u:p@h/d", "HEARTH_OBJECTS_URL": "s3://k:s@h/b"})
    assert settings.local_services() == frozenset()
    assert not any(name.endswith(("_KEY", "_TOKEN")) or "@" in value for name, value in given.items()), "secrets are in the Secret"


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_do_as_little_as_it_can(pod):
    spec = PODS[pod]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(set(volume) - {"name"} == {"emptyDir"} and volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"])


@pytest.mark.parametrize(("pod", "name"), CONTAINERS)
def test_a_container_gains_no_rights_writes_only_its_folders_and_has_a_bound(pod, name):
    container = CONTAINERS[pod, name]
    closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == closed
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in PODS[pod]["volumes"]}
    assert ":" not in container["image"], "the version is said once, in the kustomization"
    for variable in container.get("env", ()):
        assert variable["name"].startswith(PREFIX)
        assert ("valueFrom" in variable) is variable["name"].endswith(("_KEY", "_TOKEN"))


def test_the_pages_are_asked_whether_they_live_and_whether_they_can_serve():
    (web,) = PODS["web"]["containers"]
    assert web["livenessProbe"]["httpGet"]["path"] == web["startupProbe"]["httpGet"]["path"] == "/healthz", "records that are away restart nobody"
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_whatever_points_at_a_pod_finds_it(name):
    labels = DEPLOYMENTS[name]["template"]["metadata"]["labels"]
    assert DEPLOYMENTS[name]["selector"]["matchLabels"] == labels
    spec = {found["kind"]: found["spec"] for found in MANIFESTS if found["metadata"]["name"] == name}
    assert spec["PodDisruptionBudget"]["selector"]["matchLabels"] == spec["NetworkPolicy"]["podSelector"]["matchLabels"] == labels
    if name != "worker":
        ports = {port["name"] for port in PODS[name]["containers"][0]["ports"]}
        assert spec["Service"]["selector"] == labels
        assert {port["targetPort"] for port in spec["Service"]["ports"]} <= ports


def test_images_have_versions():
    made = yaml.safe_load((BASE / "kustomization.yaml").read_text("utf-8"))
    assert {image["name"] for image in made["images"]} == {container["image"] for container in CONTAINERS.values()}
    assert all(image["newTag"][0].isdigit() for image in made["images"])


@pytest.mark.parametrize("folder", ["base", "example"])
def test_kustomize_builds_it(folder):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", FOLDER / folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = list(yaml.safe_load_all(done.stdout))
    kinds = [found["kind"] for found in built if found["metadata"]["name"].startswith("inference")]
    assert bool(kinds) is (folder == "base"), "the example has no models of its own"
    for found in built:
        if found["kind"] == "Deployment":
            assert all(":" in one["image"] for one in found["spec"]["template"]["spec"]["containers"])
