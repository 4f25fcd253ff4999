"""What a trained model is worth: measured, compared, judged by the policy, told to people."""
