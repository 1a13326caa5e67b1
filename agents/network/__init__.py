"""Networks: actor and critic in torch, what decides in compiled code, and what all forms share."""
