"""Any answer checked against live code: the real model on the meta device, without weights, beside kvcalc's numbers."""
