#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manifests of deploy/kubernetes: against Kubernetes' own schema (that `./dev servers` has
fetched), and what their parts have to say to each other."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

try:
    import jsonschema
    import yaml
except ImportError as missing:
    raise SystemExit(f"{missing.name} is missing: apt-get install python3-yaml "
                     "python3-jsonschema") from missing

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = SOURCE / "deploy" / "kubernetes"
SCHEMA = pathlib.Path(os.environ.get("PW_SERVERS", SOURCE / "build" / "servers"),
                      "kubernetes.json")
KINDS = {"Job": "io.k8s.api.batch.v1.Job", "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
         "PersistentVolumeClaim": "io.k8s.api.core.v1.PersistentVolumeClaim"}


def documents():
    return [(path.name, document) for path in sorted(FOLDER.glob("*.yaml"))
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def find(name, kind):
    return next(d for file, d in documents() if file == name and d["kind"] == kind)


class Manifests(unittest.TestCase):
    def test_schema(self):
        if not SCHEMA.exists():
            self.skipTest("Kubernetes' schema is not there: run `./dev servers` once, with pip3")
        # They refer to each other as the server of the API would serve them.
        text = SCHEMA.read_text(encoding="utf-8").replace("/api/_definitions.json#", "#")
        schema = json.loads(text)
        for file, document in documents():
            with self.subTest(file, kind=document["kind"]):
                self.check(schema, document)
        # And it is one that refuses.
        broken = find("sweep-job.yaml", "Job")
        broken["spec"]["completionsMode"] = broken["spec"].pop("completionMode")
        with self.assertRaises(jsonschema.ValidationError):
            self.check(schema, broken)

    @staticmethod
    def check(schema, document):
        reference = {"$ref": f"#/$defs/{KINDS[document['kind']]}"}
        jsonschema.Draft7Validator({**schema, **reference}).validate(document)

    def test_each_index_is_a_shard(self):
        job = find("sweep-job.yaml", "Job")["spec"]
        container, = job["template"]["spec"]["containers"]
        environment = {e["name"]: e.get("value") for e in container["env"]}
        self.assertEqual(job["completionMode"], "Indexed")
        self.assertEqual(environment["SHARDS"], str(job["completions"]))
        self.assertLessEqual(job["parallelism"], job["completions"])
        # What the shell makes of it, for the first index and the last.
        shards = [self.expand(container, index, environment)
                  for index in (0, job["completions"] - 1)]
        self.assertEqual(shards, [f"1/{job['completions']}",
                                  f"{job['completions']}/{job['completions']}"])

    def expand(self, container, index, environment):
        script = container["args"][0].replace("exec pprofwall", "printf '%s\\n'")
        done = subprocess.run([*container["command"], script], capture_output=True, text=True,
                              timeout=10, env={**{k: v or "pod" for k, v in environment.items()},
                                               "JOB_COMPLETION_INDEX": str(index),
                                               "PATH": "/usr/bin:/bin"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        words = done.stdout.splitlines()
        self.assertEqual(words[words.index("--fail-on") + 1], "never")
        self.assertIn(f"/results/shard-{index}.state", words)
        self.dry_run(words)
        return words[words.index("--shard") + 1]

    def dry_run(self, words):
        """It is a command line, and the ConfigMap's files are what they are taken for."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in find("sweep-job.yaml", "ConfigMap")["data"].items():
                pathlib.Path(folder, name).write_text(text, encoding="utf-8")
            words = [re.sub("^(@?)/(etc/sweep|results)", rf"\1{folder}", word) for word in words]
            done = subprocess.run([pathlib.Path(os.environ["PW_BUILD_DIR"], "bin/pprofwall"),
                                   *words, "--dry-run"], capture_output=True, text=True,
                                  timeout=30)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_it_mounts_is_there(self):
        mine = {(d["kind"], d["metadata"]["name"]) for _, d in documents()}
        for file, document in documents():
            if document["kind"] != "Job":
                continue
            pod = document["spec"]["template"]["spec"]
            with self.subTest(file):
                for volume in pod["volumes"]:
                    if "configMap" in volume:
                        self.assertIn(("ConfigMap", volume["configMap"]["name"]), mine)
                    else:
                        self.assertIn(("PersistentVolumeClaim",
                                       volume["persistentVolumeClaim"]["claimName"]), mine)
                mounted = {m["name"] for c in pod["containers"] for m in c["volumeMounts"]}
                self.assertEqual(mounted, {v["name"] for v in pod["volumes"]})
        text = " ".join(find("sweep-job.yaml", "Job")["spec"]["template"]["spec"]
                        ["containers"][0]["args"])
        files = set(re.findall(r"/etc/sweep/(\w+)", text))
        self.assertEqual(files, set(find("sweep-job.yaml", "ConfigMap")["data"]))

    def test_hardening(self):
        """The `restricted` profile of the Pod Security Standards, and a root that is read only."""
        for file, document in documents():
            if document["kind"] != "Job":
                continue
            pod = document["spec"]["template"]["spec"]
            with self.subTest(file):
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                self.assertGreater(pod["securityContext"]["runAsUser"], 0)
                self.assertEqual(pod["securityContext"]["seccompProfile"],
                                 {"type": "RuntimeDefault"})
                self.assertIs(pod["automountServiceAccountToken"], False)
                for container in pod["containers"]:
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False)
                    self.assertIs(context["readOnlyRootFilesystem"], True)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
