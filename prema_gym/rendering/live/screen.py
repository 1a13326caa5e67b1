"""What an environment with a render mode holds: it follows the event log and draws the present moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prema_gym.rendering.live.past import follower_of
from prema_gym.rendering.live.scene import Scene, scene_of
from prema_gym.sim.simulator import Simulator
from prema_gym.types import ASKING

Output = str | np.ndarray | None


class Screen:
    """Draws row 0 of ``simulator`` under one render mode. Each event is read once."""

    def __init__(self, mode: str, simulator: Simulator, fps: float) -> None:
        self._simulator = simulator
        self._close: Callable[[], None] = lambda: None
        self._show = self._drawer(mode, fps)
        self.restart()

    def _drawer(self, mode: str, fps: float) -> Callable[[Scene], Output]:
        if mode == "ansi":
            from prema_gym.rendering.live.text import render_text

            return render_text
        if mode == "rgb_array":
            from prema_gym.rendering.live.frames import Painter

            return Painter(self._simulator.slots, len(self._simulator.config.all_npus)).paint
        from prema_gym.rendering.live.terminal import LiveView

        view = LiveView(fps)
        self._close = view.close
        return lambda scene: view.show(scene, ended=self._ended())

    def _ended(self) -> bool:
        return bool(self._simulator.state.machine[0]["outcome"] != ASKING)

    def restart(self) -> None:
        """Forget the past: an episode begins."""
        self._follower = follower_of(self._simulator)
        self._parts_read = 0

    def render(self, history: Sequence[np.ndarray]) -> Output:
        """Return what the mode returns for the present moment. ``history`` is the episode's log in parts; new ones are read."""
        for part in history[self._parts_read :]:
            for entry in part:
                self._follower.feed(entry)
        self._parts_read = len(history)
        return self._show(self.scene())

    def scene(self) -> Scene:
        """Return the present moment, as far as events have been read."""
        now = int(self._simulator.state.status[0]["clock_cycles"])
        return scene_of(self._simulator, self._follower.past(now))

    def close(self) -> None:
        """End the live view, if that is the mode."""
        self._close()
