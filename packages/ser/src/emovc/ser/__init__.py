"""Speech emotion recognition: the judges of the evaluation."""
