//! What the shape rules of several layers share.

pub(super) fn fail<T>(why: impl Into<String>) -> Result<T, String> {
    Err(why.into())
}

/// Length of the last axis.
pub(super) fn channels(x: &[usize]) -> usize {
    x[x.len() - 1]
}

/// The shape with another last axis.
pub(super) fn with_channels(x: &[usize], n: usize) -> Vec<usize> {
    [&x[..x.len() - 1], &[n]].concat()
}

/// `[length, channels]`.
pub(super) fn sequence(x: &[usize]) -> Result<[usize; 2], String> {
    x.try_into().or_else(|_| fail(format!("it needs [length, channels] but its input is {x:?}")))
}

/// `[h, w, channels]`.
pub(super) fn image(x: &[usize]) -> Result<[usize; 3], String> {
    x.try_into().or_else(|_| fail(format!("it needs [h, w, channels] but its input is {x:?}")))
}

/// An image's shape that has been checked.
pub(super) fn to3(x: &[usize]) -> [usize; 3] {
    [x[0], x[1], x[2]]
}

/// Number of window positions along one axis.
pub(super) fn windows(
    n: usize,
    k: usize,
    stride: usize,
    pad: usize,
    dilation: usize,
) -> Result<usize, String> {
    if k == 0 || stride == 0 || dilation == 0 {
        return fail("kernel, stride and dilation must be at least 1");
    }
    let span = dilation * (k - 1) + 1;
    if n + pad < span {
        return fail(format!(
            "a window of {span} does not fit into {n} + {pad} padded cells; pad more or shrink the kernel"
        ));
    }
    Ok((n + pad - span) / stride + 1)
}

/// Added to a variance.
pub(super) fn check_eps(eps: f64) -> Result<(), String> {
    if eps >= 0.0 && eps.is_finite() {
        Ok(())
    } else {
        fail(format!("eps = {eps}; use a finite number ≥ 0"))
    }
}

/// Numbers of an example.
pub(super) fn cells(x: &[usize]) -> usize {
    x.iter().product()
}
