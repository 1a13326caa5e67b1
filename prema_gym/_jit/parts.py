"""Compiled functions as parts of others, without machine code of their own.

numba optimises every function with all that it calls, writes its machine code and a wrapper for Python, and then does all of it
again for the function's callers, which contain it. Of some 200 functions of a step Python calls three. Here every compiled function
has two faces: Python calls the one that numba makes; compiled callers get the *part*, its LLVM code after the passes over single
functions, which is optimised once, in whatever Python calls. It took a first step from 60 seconds of compiling to 22.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
from numba.core import compiler
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult, _LowerResult
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


def as_part(dispatcher: Any, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Let compiled callers of ``dispatcher`` get its function as a part; return the part's own dispatcher."""
    unwrapped = {**options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    part: Any = numba.njit(function, error_model="numpy", pipeline_class=_PartCompiler, **unwrapped)

    def add_overload(result: CompileResult) -> None:  # numba's own would let Python call it
        part.overloads[tuple(result.signature.args)] = result

    part.add_overload = add_overload
    dispatcher.get_call_template = part.get_call_template
    dispatcher.get_overload = part.get_overload
    return part


class _Name:
    """What numba knows a part by, in place of a function that Python can call."""


class _PartLibrary(JITCodeLibrary):
    """LLVM code that is linked with what it needs, and neither optimised as a whole nor made machine code."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            if hasattr(library, "_reload_init"):  # numba has it since 0.63
                self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    """The last pass: to LLVM code, and no further."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered, name = state["cr"], _Name()
        state.targetctx.insert_user_function(name, lowered.fndesc, [state.library])
        state["cr"] = _LowerResult(lowered.fndesc, lowered.call_helper, cfunc=name, env=lowered.env)
        return True


class _PartCompiler(compiler.Compiler):
    """numba's compiler with another last pass."""

    def define_pipelines(self) -> list[Any]:
        (passes,) = super().define_pipelines()
        passes.passes = [(_PartLowering if one is NativeLowering else one, text) for one, text in passes.passes]
        passes._finalized = False
        passes.finalize()
        return [passes]


def as_data(result: CompileResult) -> tuple[Any, ...]:
    """Return a part as what can be pickled."""
    library, fndesc = result.library, result.fndesc
    library._ensure_finalized()
    fndesc.typemap = fndesc.calltypes = None  # as numba does: nobody reads them any more, and not all of them can be pickled
    return library.name, library._final_module.as_bitcode(), fndesc, result.environment, result.signature


def from_data(target_context: Any, data: tuple[Any, ...]) -> CompileResult:
    """Return the part that :func:`as_data` took apart."""
    name, bitcode, fndesc, environment, signature = data
    library = _PartLibrary(target_context.codegen(), name)
    library._final_module = llvm.parse_bitcode(bitcode)
    library._finalized = True
    return CompileResult(
        target_context=target_context,
        typing_context=target_context.typing_context,
        library=library,
        environment=environment,
        entry_point=_Name(),
        fndesc=fndesc,
        type_annotation="",
        signature=signature,
        objectmode=False,
        lifted=(),
        typing_error=None,
        call_helper=None,
        metadata=None,
        reload_init=[],
        referenced_envs=(),
    )
