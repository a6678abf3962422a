//! First-order methods and pieces that several systems share: SGD to Muon, L-BFGS, schedules
