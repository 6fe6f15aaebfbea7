#!/usr/bin/python
"""Push an image and verify it by the registry's digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_push
short_description: Push an image under its tags and verify the registry's digests
description:
  - Pushes one image under several tags. Its layers are sent once, with the first tag.
  - Asks the registry for the digest of each tag before and after. Is changed only if one of them moved - also when nothing but a label of the image
    changed, and not when the registry already had this very image.
  - What the registry answers afterwards is compared with what was pushed. A difference is a failure.
  - Tries again with growing pauses (1, 2, 4 ... at most 30 s) after a lost connection, 429 (as long as C(Retry-After) says) and 5xx. A refused login,
    a missing repository and a full registry fail at once, with one sentence that says what to do.
  - Shows on the terminal, at least every five seconds, how much of the image is in the registry and how fast it goes there.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [engine, progress, lock]
options:
  name:
    description: Repository, with its registry's host in front and no tag, for example V(registry.example.com/shaiic/ai-edu).
    type: str
    required: true
  immutable_tag:
    description:
      - A tag that is written once.
      - When the registry has it, the registry's image is the truth - nothing of ours is sent, and O(tags) get that image.
      - At least one of O(immutable_tag) and O(tags) is needed.
    type: str
  tags:
    description: Tags that move. Afterwards each of them names the image, in the registry and in the engine.
    type: list
    elements: str
    default: []
  image:
    description:
      - The image to push, by its name or id in the engine. It gets the tags in O(name) in the engine as well.
      - Where it is not set, the image O(name):O(immutable_tag), or else O(name) with the first of O(tags).
    type: str
  attempts:
    description:
      - How often each step (a question to the registry, the push of a tag) is tried before the module fails.
      - Engines try the upload of a layer up to five times themselves before that counts as one attempt.
    type: int
    default: 5
  push_timeout_s:
    description: Seconds that everything together may take, all attempts and pauses included.
    type: int
    default: 3600
notes:
  - Supports C(check_mode) and C(diff). In check mode the digest of an image that was never pushed to O(name) is not known yet; the image counts as a
    change, though the registry may turn out to have it already.
  - Tried with engine 20.10.24 (the store with overlay2) and the registry docker-registry 2.8.2, both of Debian 12, over plain HTTP on loopback and over
    TLS with a CA of its own, without a login, with a password and with the token flow that Docker Hub uses. The messages of Harbor and of other engines
    are known from their documentation and source. Not tried - engines 23 to 29, the containerd image store, Docker Hub, Harbor and the registries of
    cloud providers themselves.
  - The engine talks to the registry, so its own settings count - proxies, C(insecure-registries), and the CA of a registry in
    C(/etc/docker/certs.d/HOST:PORT/ca.crt) on the engine's host. No restart is needed for the latter.
  - When a push stumbles, the module asks the registry itself for the reason, because engines hide C(Retry-After) and what a full registry says. This is
    left out where the registry cannot be reached from the host of the module.
  - An image that another tool pushed as a list of several platforms cannot be given further tags without a change of its digest by engines with the
    overlay2 store. The module then fails, as it does for every other difference.
"""

EXAMPLES = r"""
- name: Push a tested image under its immutable tag, and let v1.0 name it
  docker_push:
    name: registry.example.com/shaiic/ai-edu
    immutable_tag: v1.0-0a1b2c3d4e5f
    tags: [v1.0]
    registry_username: builder
    registry_password: "{{ vault_registry_password }}"

- name: Push an image that was built elsewhere under two tags that move
  docker_push:
    name: registry.example.com/teaching/notebook
    image: notebook-under-test
    tags: [latest, "2026.1"]
    registry_username: builder
    registry_password: "{{ vault_registry_password }}"
  register: pushed

- name: Run exactly that image
  ansible.builtin.command: docker run --rm {{ pushed.name }}@{{ pushed.digest }} true
  changed_when: false

- name: Push to a registry without a login, and be patient with it
  docker_push:
    name: registry.example.com:5000/teaching/notebook
    tags: [latest]
    attempts: 10
    push_timeout_s: 7200
"""

RETURN = r"""
name:
  description: The repository.
  returned: success
  type: str
reference:
  description: The repository with the immutable tag, or with the first of the tags where there is no immutable one.
  returned: success
  type: str
tags:
  description: All tags, the immutable one first.
  returned: success
  type: list
  elements: str
digest:
  description: The registry's digest of RV(reference). None in check mode where it is not known yet.
  returned: success
  type: str
digests:
  description: The registry's digest of each tag, after the push. In check mode the one that it will have, none where that is not known yet.
  returned: success
  type: dict
  sample: {"v1.0": "sha256:fb0c8b325cf6cd9a0a7d4e949321f6a7cc852da50b0fe25e24f27c977d99b522"}
previous:
  description: The registry's digest of each tag before the push, none where there was no such tag.
  returned: success
  type: dict
  sample: {"v1.0": null}
pushed_tags:
  description: The tags that were pushed, or would be in check mode.
  returned: success
  type: list
  elements: str
source:
  description:
    - Where the image was found.
    - V(registry) when the registry has the immutable tag, V(engine) when the engine has the image, V(absent) when it is still to be built, which is an
      error except in check mode.
  returned: success
  type: str
bytes_sent:
  description:
    - Bytes of the layers that were sent. Engines with the overlay2 store count before compression, so fewer go over the wire.
    - What an upload sent in vain, before it had to begin again, is left out; engines do not count it.
  returned: always after a push has begun
  type: int
layers_pushed:
  description: Number of layers that were sent.
  returned: always after a push has begun
  type: int
layers_present:
  description: Number of layers that the registry had, in this repository or in another one from which it took them over.
  returned: always after a push has begun
  type: int
layers:
  description: Each layer.
  returned: always after a push has begun
  type: list
  elements: dict
  contains:
    id:
      description: First 12 digits of the layer's id.
      type: str
    state:
      description: V(pushed), V(present), V(mounted) from another repository of the registry; after a failure also V(waiting) or V(pushing).
      type: str
    bytes:
      description: Size before compression, none where the engine did not say.
      type: int
attempts:
  description: 0 if there was nothing to push, 1 if all went well, and one more for each step that had to be done again.
  returned: always after a push has begun
  type: int
duration_s:
  description: Seconds that the push took, its verification included.
  returned: always after a push has begun
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_push
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_push.SPEC, supports_check_mode=True), image_push.run, lambda result: True)


if __name__ == "__main__":
    main()
