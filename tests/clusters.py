"""Clusters in memory: each plays the courses that a test writes, and judges every request and every answer of its own.

They are judged by the routes and fields that this project says it uses, below, and by the published API where that lies beside the repository.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jsonschema
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

TOKEN = "the-token-of-the-cluster"
NAMESPACE = "lab"
PUBLISHED = next((f for up in Path(__file__).resolve().parents for f in (up / "shared/data", up.parent / "shared/data") if f.is_dir()), None)
TEXT, OBJECT, LIST, TRUTH = str, dict, list, bool
OURS = {
    # route: (keys of the query, {key of the body: its type; those with a ! must be there})
    "GET /apis/v2beta1/healthz": (set(), {}),
    "GET /apis/v2beta1/runs": ({"filter", "page_size"}, {}),
    "POST /apis/v2beta1/runs": (set(), {"display_name!": TEXT, "pipeline_spec!": OBJECT, "runtime_config!": OBJECT}),
    "GET /apis/v2beta1/runs/{run_id}": (set(), {}),
    "POST /apis/v2beta1/runs/{run_id}:terminate": (set(), {}),
    "GET /api/v1/workflows/{namespace}": ({"listOptions.labelSelector", "listOptions.limit", "fields"}, {}),
    "POST /api/v1/workflows/{namespace}": (set(), {"namespace!": TEXT, "serverDryRun!": TRUTH, "workflow!": OBJECT}),
    "GET /api/v1/workflows/{namespace}/{name}": (set(), {}),
    "PUT /api/v1/workflows/{namespace}/{name}/terminate": (set(), {"name!": TEXT, "namespace!": TEXT}),
    "GET /api/v1/workflows/{namespace}/{name}/log": ({"podName", "logOptions.container"}, {}),
    "GET /artifacts/{namespace}/{name}/{nodeId}/{artifactName}": (set(), {}),
}
"""What we use of both APIs, in our own words."""


class Published:
    """A published API description."""

    def __init__(self, name):
        self.document = json.loads((PUBLISHED / name).read_text())
        for title in self.document["definitions"]:
            if title.endswith("IntOrString"):  # published as a text only; numbers are taken as well
                self.document["definitions"][title] = {"type": ["string", "integer"]}
            if title.endswith("meta.v1.Time"):  # Kubernetes writes null for a time that has not come
                self.document["definitions"][title] = {"type": ["string", "null"]}

    def problems(self, route, part, value):
        """What is wrong with a request's body or an answer."""
        method, _, path = route.partition(" ")
        operation = self.document["paths"][path][method.lower()]
        if part == "answer":
            schema = operation["responses"]["200"].get("schema", {})
        else:
            schema = next((p["schema"] for p in operation["parameters"] if p["in"] == "body"), None)
        if schema is None or schema.get("format") == "binary":
            return []
        judge = jsonschema.Draft4Validator({**schema, "definitions": self.document["definitions"]})
        return [f"{route}, {part}, {'/'.join(map(str, e.path))}: {e.message[:200]}" for e in judge.iter_errors(value)]

    def takes(self, route, key):
        method, _, path = route.partition(" ")
        return any(p["in"] == "query" and p["name"] == key for p in self.document["paths"][path][method.lower()].get("parameters", []))


@dataclass
class Cluster:
    """What both have in common. course: what successive looks at a run show; the last one stays.   faults: what happens to the next requests of a kind."""

    course: list = field(default_factory=list)
    faults: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    looks: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    logs: dict = field(default_factory=dict)
    artifacts: dict = field(default_factory=dict)
    token: str = TOKEN

    published = None
    routes = ()

    @property
    def transport(self):
        """For the engine."""
        routes = [self._route(route) for route in OURS if self.speaks(route)]
        return httpx.ASGITransport(Starlette(routes=[Mount("/pipeline", routes=routes), *routes]))

    def _route(self, route):
        method, _, path = route.partition(" ")

        async def answer(request):
            return await self._answered(route, request)

        return Route(path, answer, methods=[method])

    async def _answered(self, route, request):
        body = await request.body()
        value = json.loads(body) if body else None
        kind = self.kind(route)
        self.asked.append((kind, value))
        self._judge(route, request, value)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"code": 16, "message": f"token not valid: {request.headers.get('authorization')}"}, 401)
        if waiting := self.faults.get(kind):
            fault = waiting.pop(0)
            if fault is not None:
                return await fault(request) if callable(fault) else JSONResponse({"message": f"no: {TOKEN}"}, fault)
        answer = getattr(self, kind)(request, value)
        if not isinstance(answer, Response):
            if self.published:
                self.problems += self.published.problems(route, "answer", answer)
            answer = JSONResponse(answer)
        return answer

    def _judge(self, route, request, value):
        query, keys = OURS[route]
        self.problems += [f"{route}: the query has {key}" for key in request.query_params if key not in query]
        names = {key.rstrip("!"): kind for key, kind in keys.items()}
        self.problems += [f"{route}: the body has {key}" for key in value or {} if key not in names]
        self.problems += [f"{route}: the body lacks {key[:-1]}" for key in keys if key.endswith("!") and key[:-1] not in (value or {})]
        self.problems += [f"{route}: {key} is {val!r}"[:200] for key, val in (value or {}).items() if not isinstance(val, names.get(key, object))]
        if self.published:
            self.problems += [f"{route}: no such query: {key}" for key in request.query_params if not self.published.takes(route, key)]
            if value is not None:
                self.problems += self.published.problems(route, "request", value)

    def kind(self, route):
        """check, find, submit, look, end, log or artifact."""
        tails = {"healthz": "health", "runs": "find", "{namespace}": "find", "log": "log", "{artifactName}": "artifact"}
        method, _, path = route.partition(" ")
        if method != "GET":
            return "end" if "terminate" in path else "submit"
        return tails.get(path.rpartition("/")[2], "look")

    def count(self, kind):
        return sum(asked == kind for asked, _ in self.asked)

    def shown(self, name):
        """What the next look at it shows."""
        at = self.looks[name] = self.looks.get(name, -1) + 1
        return "terminated" if name in self.ended else self.course[min(at, len(self.course) - 1)]


class KubeflowCluster(Cluster):
    """Kubeflow Pipelines. A look is (state, [task, …])."""

    published = Published("kubeflow-pipelines-v2beta1.swagger.json") if PUBLISHED else None

    @staticmethod
    def speaks(route):
        return "v2beta1" in route

    def health(self, _request, _value):
        return {"multi_user": False}

    def find(self, request, _value):
        (wanted,) = json.loads(request.query_params["filter"])["predicates"]
        assert (wanted["key"], wanted["operation"]) == ("display_name", "EQUALS")
        found = [run for run in self.runs.values() if run["display_name"] == wanted["string_value"]]
        return {"runs": found, "total_size": len(found)} if found else {}

    def submit(self, _request, value):
        made = {"run_id": f"kfp-{len(self.runs)}", "display_name": value["display_name"], "state": "PENDING"}
        self.runs[made["run_id"]] = made
        return made

    def look(self, request, _value):
        name = request.path_params["run_id"]
        if name not in self.runs:
            return JSONResponse({"code": 5, "message": "not found"}, 404)
        shown = self.shown(name)
        state, tasks = ("CANCELED", []) if shown == "terminated" else shown
        return {**self.runs[name], **({"state": state} if state else {}), "run_details": {"task_details": tasks}}

    def end(self, request, _value):
        self.ended.append(request.path_params["run_id"])
        return {}


class ArgoCluster(Cluster):
    """Argo Workflows. A look is (phase, {id: node})."""

    published = Published("argo-workflows.swagger.json") if PUBLISHED else None

    @staticmethod
    def speaks(route):
        return "v2beta1" not in route

    def find(self, request, _value):
        assert request.path_params["namespace"] == NAMESPACE
        label, _, wanted = request.query_params.get("listOptions.labelSelector", "").partition("=")
        found = [run for run in self.runs.values() if not label or run["metadata"]["labels"].get(label) == wanted]
        return {"metadata": {}, "items": [{"metadata": {"name": run["metadata"]["name"]}, "spec": {}} for run in found] or []}

    def submit(self, _request, value):
        sent = value["workflow"]
        name = f"{sent['metadata']['generateName']}{len(self.runs):05d}"
        self.runs[name] = {**sent, "metadata": {**sent["metadata"], "name": name}}
        return self.runs[name]

    def look(self, request, _value):
        name = request.path_params["name"]
        if name not in self.runs:
            return JSONResponse({"code": 5, "message": "not found"}, 404)
        shown = self.shown(name)
        phase, nodes = ("Failed", {}) if shown == "terminated" else shown
        filled = json.loads(json.dumps(nodes).replace("$NAME", name))
        return {**self.runs[name], "status": {"phase": phase, "nodes": filled}}

    def end(self, request, value):
        assert value["name"] == request.path_params["name"]
        self.ended.append(value["name"])
        return self.runs[value["name"]]

    def log(self, request, _value):
        found = self.logs.get(request.query_params["podName"])
        if found is None:
            return JSONResponse({"message": "pods not found"}, 404)
        if callable(found):
            return found()
        return Response("".join(json.dumps({"result": {"content": line, "podName": request.query_params["podName"]}}) + "\n" for line in found))

    def artifact(self, request, _value):
        found = self.artifacts.get((request.path_params["nodeId"], request.path_params["artifactName"]))
        return Response(found) if found is not None else JSONResponse({"message": "no artifact"}, 404)


def task(name, state, *, n=1, **more):
    """A task of Kubeflow's."""
    over = {"end_time": "2026-11-26T12:00:09Z"} if state in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED") else {}
    known = {"state": state} if state else {}
    return {"task_id": f"id-{name}-{n}", "display_name": name, **known, "start_time": f"2026-11-26T12:00:0{n}Z", **over, **more}


def node(name, phase, *, kind="Pod", n=1, around="$NAME", template="work", **more):
    """A node of Argo's, as an entry of its map. around: the id of the node that it is a part of."""
    over = {"finishedAt": "2026-11-26T12:00:09Z"} if phase in ("Succeeded", "Failed", "Error", "Skipped", "Omitted") else {"finishedAt": None}
    told = {"id": f"$NAME-{name}", "name": f"$NAME.{name}", "displayName": name, "type": kind, "phase": phase, "templateName": template, "boundaryID": around}
    return {told["id"]: {**told, "startedAt": f"2026-11-26T12:00:0{n}Z", **over, **more}}


def root(phase):
    """The node of the whole workflow."""
    return {
        "$NAME": {
            "id": "$NAME",
            "name": "$NAME",
            "displayName": "$NAME",
            "type": "DAG",
            "phase": phase,
            "startedAt": "2026-11-26T12:00:00Z",
            "finishedAt": None,
        }
    }


async def slow(_request):
    """A body that does not come."""
    raise httpx.ReadTimeout("too slow")


def cut(lines):
    """A stream of a log that breaks after these lines."""

    def answer():
        async def body():
            for line in lines:
                yield json.dumps({"result": {"content": line}}).encode() + b"\n"
            yield b'{"result": {"cont'

        return StreamingResponse(body())

    return answer


async def at_once(_seconds):
    """The sleep of tests: it lets others work, and no more."""
    await asyncio.sleep(0)
