"""Networks from torch modules: ``torch.export`` traces a module with shapes alone, :mod:`torch_operations` lowers the trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prema_gym.errors import ModelError
from prema_gym.workloads.importing.imported import ImportedModel, imported
from prema_gym.workloads.importing.layer_list import LayerList
from prema_gym.workloads.importing.torch_operations import lower_call


def from_torch(
    module: Any, inputs: Any, *, name: str | None = None, keywords: dict[str, Any] | None = None, batch_axis: int = 0
) -> ImportedModel:
    """Return the network of a ``torch.nn.Module``, or of a program that ``torch.export`` made.

    The module's weights are not read; a module on the device "meta" has none, and will do.

    Raises :class:`ModelError` where the module can't be exported.

    Args:
        module: In evaluation mode as it is used; it is exported as it is.
        inputs: A tensor or a tuple of them, as the module is called with; their first axis is the batch.
        name: Of the model; the module's class unless given.
        keywords: Inputs by name.
        batch_axis: Of the first input, 1 for a recurrent network whose first axis is time.

    """
    try:
        import torch
    except ImportError:
        raise ModelError("from_torch needs the package torch: install the extra, prema-gym[rl].") from None
    exported = module if isinstance(module, torch.export.ExportedProgram) else _export(module, inputs, keywords)
    made = LayerList(name or type(module).__name__, type(module).__name__)
    given = set(exported.graph_signature.user_inputs)
    first = True
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            _put(made, node, node.name in given)
            if first and node.name in given and made.knows(node.name):
                first = False
                if batch_axis:
                    made.rebatch(made.value(node.name).shape[batch_axis])
        elif node.op == "call_function":
            lower_call(made, node)
        elif node.op == "get_attr":
            _put(made, node, given=False)
    return imported(made, name, f"imported from torch, {type(module).__name__}")


def _export(module: Any, inputs: Any, keywords: dict[str, Any] | None) -> Any:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"from_torch({module!r}): must be a torch.nn.Module or an exported program.")
    arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if not all(isinstance(argument, torch.Tensor) for argument in arguments):
        raise ModelError(f"from_torch(..., inputs={inputs!r}): must be a tensor or a tuple of tensors.")
    try:
        with torch.no_grad():
            return torch.export.export(module.eval(), arguments, keywords or {}, strict=False)
    except Exception as error:  # whatever the user's module raises while it is traced
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"from_torch({type(module).__name__}): torch.export can't trace it: {reason[:300]}") from error


def _put(made: LayerList, node: Any, given: bool) -> None:
    """Note a placeholder: an input of the network, or a weight."""
    shape = shape_of(node)
    if shape is None:
        made.put_constant(node.name, (1,))
    elif given:
        made.put_input(node.name, shape)
    else:
        made.put_constant(node.name, tuple(max(1, size) for size in shape))


def shape_of(node: Any) -> tuple[int, ...] | None:
    """Return the shape that tracing found for a node; None where it makes no single tensor."""
    value = node.meta.get("val")
    shape: Sequence[Any] | None = getattr(value, "shape", None)
    return None if shape is None else tuple(int(size) for size in shape)
