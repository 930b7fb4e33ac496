"""Starts the server of TensorRT Edge-LLM on an engine that is built already.

Its own command line builds engines from checkpoints and has no word for this. Names of parameters differ from 0.7.1 to 0.9.1:
each is given under the name that the installed version knows.
"""

import argparse
import inspect
import sys

from experimental.server import LLM

parser = argparse.ArgumentParser()
parser.add_argument("--engine-dir", required=True)
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--draft-step", type=int)
parser.add_argument("--verify-tree-size", type=int)
given = parser.parse_args()

known = inspect.signature(LLM.__init__).parameters
takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
wanted = [(("engine_dir",), given.engine_dir)]
if given.draft_step is not None:
    wanted += [
        (("spec_decode_engine_dir", "eagle_engine_dir"), given.engine_dir),
        (("draft_top_k", "spec_draft_top_k"), 1),
        (("draft_step", "spec_draft_step"), given.draft_step),
        (("verify_tree_size", "spec_verify_tree_size"), given.verify_tree_size),
    ]
arguments = {}
for names, value in wanted:
    name = next((name for name in names if name in known), names[0] if takes_all else None)
    if name is None:
        sys.exit("error: this version of TensorRT Edge-LLM has no parameter " + " or ".join(names))
    arguments[name] = value
LLM(**arguments).serve(host=given.host, port=given.port)
