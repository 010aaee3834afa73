"""What every package stands on: errors, options, command lines, progress, small files."""
