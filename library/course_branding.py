"""Documentation of the action plugin `course_branding`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: course_branding
short_description: Make the logos and icons of a course from its declared branding
description:
  - Reads the logo and the favicons, refuses what is not an image, and writes every picture that Jupyter and code-server show into O(dest),
    in each format and size, with C(brand.json), which describes them. The folder becomes C(branding/) of the course's context.
  - It is an action plugin alone, runs on the control node and needs the Python package pillow there. The image needs no program for pictures.
  - A PNG logo and ICO favicons are taken over byte by byte.
  - Never reports a change and runs in check mode, too, because the folder is scratch space from which the context digest is computed.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  dest:
    description: The folder. Files in it that do not belong there are removed.
    type: path
    required: true
  product_name:
    description:
      - What Jupyter's tabs and log-in page and code-server are called. Up to 60 characters; C({ } < > " \ %) and line breaks are not
        allowed.
    type: str
    required: true
  logo:
    description: Logo of the log-in page and of the top left corner. PNG, ICO, JPEG, WebP or GIF, at most 4 MiB and 4096 x 4096 pixels.
    type: path
    required: true
  favicon:
    description: Icon of the browser's tab and of the installed web application, in the same formats. Best square and 512 pixels wide.
    type: path
    required: true
  favicon_busy:
    description: Icon of the tab while a kernel works. O(favicon) where it is not set.
    type: path
  favicon_terminal:
    description: Icon of a terminal's tab. O(favicon) where it is not set.
    type: path
  theme:
    description: Colours, as C(#rrggbb).
    type: dict
    default: {}
    suboptions:
      color:
        description: Lines, buttons and links.
        type: str
        default: "#b8860b"
      background:
        description: Behind the log-in form and behind maskable icons.
        type: str
        default: "#ffffff"
  files:
    description: Files that go into O(dest) as they are.
    type: list
    elements: path
    default: []
  written:
    description: Where the value of an option or of a colour is written, by its name, for messages.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Make the logos of OOB3
  course_branding:
    dest: "{{ project_root }}/.cache/branding/OOB3"
    product_name: Golden Jobs
    logo: "{{ project_root }}/branding/logo.png"
    favicon: "{{ project_root }}/branding/favicon.ico"
    theme: {color: "#b8860b", background: "#ffffff"}
    files: ["{{ project_root }}/branding/brand.py", "{{ project_root }}/branding/custom.css"]
"""

RETURN = r"""
dest:
  description: The folder.
  returned: success
  type: str
files:
  description: The sha256 of each picture by its name in O(dest).
  returned: success
  type: dict
  sample: {"logo.png": "0f3c"}
"""
