"""Pictures drawn with matplotlib: Gantt charts of episodes, rooflines and context profiles of programs."""
