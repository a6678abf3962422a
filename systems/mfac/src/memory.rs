//! Refuses what would not fit, before it is allocated.

use std::fs::read_to_string;

use crate::MfacError;

/// An error if `bytes(m)`, which must not fall with m, is more than three quarters of what is free.
pub(crate) fn check(m: usize, d: usize, bytes: impl Fn(u64) -> u64) -> Result<(), MfacError> {
    match available() {
        Some(available) => fits(m, d, bytes, available),
        None => Ok(()),
    }
}

fn fits(m: usize, d: usize, bytes: impl Fn(u64) -> u64, available: u64) -> Result<(), MfacError> {
    let (needed, limit) = (bytes(m as u64), available / 4 * 3);
    if needed <= limit {
        return Ok(());
    }
    let (mut fit, mut not) = (0, m as u64);
    while not - fit > 1 {
        let middle = fit + (not - fit) / 2;
        if bytes(middle) <= limit { fit = middle } else { not = middle }
    }
    Err(MfacError::Memory { m, d, needed, available, suggested: fit as usize })
}

/// Bytes that a new buffer may take, where the system tells: the lesser of the machine's and the
/// control group's.
fn available() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    let number = |file| read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let group = Option::zip(number("/sys/fs/cgroup/memory.max"), number("/sys/fs/cgroup/memory.current"));
    let group = group.map(|(most, used)| most.saturating_sub(used));
    machine.into_iter().chain(group).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_bytes_and_a_number_that_fits() {
        let bytes = |m: u64| 4 * m * 1000 + 16 * m * m;
        assert!(fits(10, 1000, bytes, 80_000).is_ok());
        let error = fits(100, 1000, bytes, 80_000).unwrap_err();
        let MfacError::Memory { needed, suggested, .. } = error else { panic!("{error}") };
        assert_eq!(needed, 560_000);
        assert!(bytes(suggested as u64) <= 60_000 && bytes(suggested as u64 + 1) > 60_000);
        assert!(error.to_string().contains("use at most 14 gradients"), "{error}");
    }
}
