"""An episode as a file or a fragment for other programs: traces for Perfetto, HTML for notebooks."""
