//! AdaHessian: adaptive training with the diagonal of the Hessian
