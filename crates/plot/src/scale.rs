//! Axes: from values to 0..1, with ticks at nice numbers.

/// A tick: position as a fraction of the axis, label (empty on minor ticks).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub at: f64,
    pub label: String,
}

/// A linear or logarithmic axis from `lo` to `hi`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub lo: f64,
    pub hi: f64,
    pub log: bool,
}

/// Whether a value can be drawn: finite, on a log axis positive. Beyond 1e300 differences overflow.
pub(crate) fn drawable(v: f64, log: bool) -> bool {
    v.abs() <= 1e300 && (!log || v >= 1e-300)
}

impl Scale {
    /// The axis that shows `values` (drawable ones), or exactly the `fixed` range, if it is legal.
    pub fn fitting(
        values: impl Iterator<Item = f64>,
        log: bool,
        fixed: Option<(f64, f64)>,
        pad: f64,
    ) -> Self {
        if let Some((lo, hi)) = fixed.map(|(a, b)| (a.min(b), a.max(b)))
            && drawable(lo, log)
            && drawable(hi, log)
        {
            return Self { lo, hi, log }.widened();
        }
        let (lo, hi) = values
            .filter(|&v| drawable(v, log))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        if lo > hi {
            return if log { Self { lo: 0.1, hi: 10.0, log } } else { Self { lo: 0.0, hi: 1.0, log } };
        }
        let mut s = Self { lo, hi, log }.widened();
        if s.lo == lo {
            let (lo, hi) = (s.raw(lo), s.raw(hi));
            let margin = (hi - lo) * pad;
            s.lo = s.unraw(lo - margin).max(if log { 1e-300 } else { f64::MIN });
            s.hi = s.unraw(hi + margin).min(if log { 1e300 } else { f64::MAX });
            if !log && lo >= 0.0 {
                s.lo = s.lo.max(0.0); // a quantity that is never negative gets no negative axis
            }
        }
        s
    }

    /// A range of one point, or one too narrow for the arithmetic, opened around it.
    fn widened(mut self) -> Self {
        let mid = self.lo / 2.0 + self.hi / 2.0;
        if self.log {
            if self.hi / self.lo < 1.0 + 1e-9 {
                (self.lo, self.hi) = (mid / 2.0, mid * 2.0);
            }
        } else if self.hi - self.lo <= (mid.abs() * 1e-12).max(1e-290) {
            let half = if mid.abs() < 1e-280 { 1.0 } else { mid.abs() * 0.1 };
            (self.lo, self.hi) = (mid - half, mid + half);
        }
        self
    }

    fn raw(&self, v: f64) -> f64 {
        if self.log { v.log10() } else { v }
    }

    fn unraw(&self, r: f64) -> f64 {
        if self.log { 10f64.powf(r) } else { r }
    }

    /// Position of a value as a fraction of the axis; `None` where it cannot be drawn.
    pub fn at(&self, v: f64) -> Option<f64> {
        let (lo, hi) = (self.raw(self.lo), self.raw(self.hi));
        drawable(v, self.log).then(|| (self.raw(v) - lo) / (hi - lo))
    }

    /// About `target` labelled ticks, the minor ticks, and a note that all labels share.
    pub fn ticks(&self, target: usize) -> (Vec<Tick>, Vec<Tick>, Option<String>) {
        if self.log && self.hi / self.lo >= 3.0 {
            let (major, minor) = self.log_ticks(target);
            return (major, minor, None);
        }
        let multiples = |step: f64| {
            let first = (self.lo / step - 1e-6).ceil();
            let count = ((self.hi / step + 1e-6).floor() - first).clamp(-1.0, 50.0) + 1.0;
            (0..count as usize).map(|i| (first + i as f64) * step).collect::<Vec<f64>>()
        };
        let wide = (self.hi - self.lo) / target.max(1) as f64;
        // One or two numbers tell little of a scale.
        let steps = [wide, 0.5 * wide].map(nice_step);
        let step = if multiples(steps[0]).len() < 3 { steps[1] } else { steps[0] };
        let values = multiples(step);
        let (labels, note) = linear_labels(&values, step);
        let major = values.iter().zip(labels).filter_map(|(&v, label)| Some(Tick { at: self.at(v)?, label }));
        (major.collect(), Vec::new(), note)
    }

    fn log_ticks(&self, target: usize) -> (Vec<Tick>, Vec<Tick>) {
        let (first, last) = (self.lo.log10() - 1e-9, self.hi.log10() + 1e-9);
        let decades = first.floor() as i32..=last.ceil() as i32;
        let span = (last - first).ceil() as usize;
        let every = nice_step(span as f64 / target.max(1) as f64).max(1.0) as i32;
        // Too few powers of ten inside: label the 1-2-5 steps as well.
        let inside = decades.clone().filter(|&k| (first..=last).contains(&f64::from(k))).count();
        let fine = inside < 3;
        let plain = decades.clone().all(|k| (-4..=5).contains(&k)) || fine;
        let (mut major, mut minor) = (Vec::new(), Vec::new());
        for k in decades {
            for m in 1..10 {
                let exact: f64 = format!("{m}e{k}").parse().unwrap_or(0.0);
                if !(first..=last).contains(&exact.log10()) {
                    continue;
                }
                let Some(at) = self.at(exact) else { continue };
                let labelled = if m == 1 { k % every == 0 } else { fine && (m == 2 || m == 5) };
                if labelled {
                    let label = if plain { number(exact) } else { power(1.0, k) };
                    major.push(Tick { at, label });
                } else if span <= 8 || m == 1 {
                    minor.push(Tick { at, label: String::new() });
                }
            }
        }
        (major, minor)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `v`.
pub(crate) fn nice_step(v: f64) -> f64 {
    let exponent = v.max(1e-300).log10().floor();
    let decade = 10f64.powf(exponent);
    let leading = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * decade >= v * (1.0 - 1e-9));
    let step = leading.unwrap_or(10.0) * decade;
    // Through decimal notation: 5 · 10⁻³ as the nearest number to 0.005.
    format!("{step:.0e}").parse().unwrap_or(step)
}

/// Labels of equidistant ticks, all in one notation, and what was taken out of them.
fn linear_labels(values: &[f64], step: f64) -> (Vec<String>, Option<String>) {
    let biggest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if biggest == 0.0 {
        return (values.iter().map(|_| "0".into()).collect(), None);
    }
    // A narrow window far from zero: label the distance from its first tick.
    if biggest / step > 1e6 {
        let base = values[0];
        let rest: Vec<f64> = (0..values.len()).map(|i| i as f64 * step).collect();
        return (linear_labels(&rest, step).0, Some(format!("+ {}", number(base))));
    }
    let (top, unit) = (biggest.log10().floor() as i32, step.log10().floor() as i32);
    let scaled = |shift: i32, suffix: &str| {
        let decimals = (shift - unit).max(0) as usize;
        let label = |&v: &f64| {
            if v.abs() < step / 2.0 { "0".into() } else { grouped(v / 10f64.powi(shift), decimals) + suffix }
        };
        values.iter().map(label).collect()
    };
    let labels = match top {
        -4..=4 => scaled(0, ""),
        5 if step >= 1.0 => scaled(if unit >= 2 { 3 } else { 0 }, if unit >= 2 { "k" } else { "" }),
        6..=8 => scaled(6, "M"),
        _ => {
            let note = format!("× {}", power(1.0, top));
            let decimals = (top - unit).max(0) as usize;
            let tidy = |&v: &f64| {
                if v.abs() < step / 2.0 { "0".into() } else { grouped(v / 10f64.powi(top), decimals) }
            };
            return (values.iter().map(tidy).collect(), Some(note));
        }
    };
    (labels, None)
}

/// Fixed decimals, a true minus sign, commas between thousands.
fn grouped(v: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", v.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::from(if v < 0.0 { "−" } else { "" });
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `m × 10ᵏ`, without the factor if it is 1.
fn power(m: f64, k: i32) -> String {
    let exponent: String = k
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            c => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][c.to_digit(10).unwrap_or(0) as usize],
        })
        .collect();
    let factor = format!("{m:.3}");
    match factor.trim_end_matches('0').trim_end_matches('.') {
        "1" => format!("10{exponent}"),
        factor => format!("{}×10{exponent}", factor.replace('-', "−")),
    }
}

/// A number for readers, to four significant digits: `0.9731`, `12,400`, `3.2×10⁻⁷`, `−5`.
pub fn number(v: f64) -> String {
    if v.is_nan() {
        return "–".into();
    }
    if v.is_infinite() {
        return if v > 0.0 { "∞" } else { "−∞" }.into();
    }
    if v == 0.0 {
        return "0".into();
    }
    let rounded = format!("{v:.3e}");
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let k: i32 = exponent.parse().unwrap_or(0);
    if !(-4..=6).contains(&k) {
        return power(mantissa.parse().unwrap_or(1.0), k);
    }
    let text = grouped(v, (3 - k).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(lo: f64, hi: f64, log: bool, target: usize) -> Vec<String> {
        let scale = Scale::fitting([lo, hi].into_iter(), log, None, 0.0);
        scale.ticks(target).0.into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_nice_numbers() {
        assert_eq!(labels(0.0, 1.0, false, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-3.0, 7.0, false, 5), ["−2", "0", "2", "4", "6"]);
        assert_eq!(labels(0.0, 20_000.0, false, 4), ["0", "5,000", "10,000", "15,000", "20,000"]);
        assert_eq!(labels(0.0, 4e6, false, 4), ["0", "1M", "2M", "3M", "4M"]);
        assert_eq!(labels(1e-3, 10.0, true, 5), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(1e-8, 1.0, true, 5), ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]);
        assert_eq!(labels(1.0, 30.0, true, 5), ["1", "2", "5", "10", "20"]);
    }

    #[test]
    fn what_all_labels_share_is_noted_once() {
        let far = Scale { lo: 1e9, hi: 1e9 + 4.0, log: false };
        let (ticks, _, note) = far.ticks(4);
        assert_eq!(ticks.iter().map(|t| t.label.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
        assert_eq!(note.as_deref(), Some("+ 10⁹"));
        let small = Scale { lo: 0.0, hi: 4e-9, log: false };
        let (ticks, _, note) = small.ticks(4);
        assert_eq!(ticks.last().map(|t| t.label.as_str()), Some("4"));
        assert_eq!(note.as_deref(), Some("× 10⁻⁹"));
    }

    #[test]
    fn every_range_gives_a_usable_axis() {
        let ends = [0.0, 5e-324, 1e-300, 1e-12, 1.0, 1.0 + 1e-15, 1e12, 1e300];
        for (&a, &b) in ends.iter().flat_map(|a| ends.iter().map(move |b| (a, b))) {
            for (lo, hi, log) in [(a, b, false), (-a, b, false), (a, b, true)] {
                let scale = Scale::fitting([lo, hi].into_iter(), log, None, 0.05);
                assert!(scale.lo < scale.hi, "{lo} {hi} {log}: {scale:?}");
                let (major, minor, _) = scale.ticks(6);
                assert!((1..=40).contains(&major.len()), "{lo} {hi} {log}: {major:?}");
                assert!(
                    major.iter().chain(&minor).all(|t| (-0.01..=1.01).contains(&t.at)),
                    "{scale:?} {major:?}"
                );
            }
        }
    }

    #[test]
    fn numbers_read_well() {
        let cases =
            [(0.9731, "0.9731"), (12_400.0, "12,400"), (3.2e-7, "3.2×10⁻⁷"), (-5.0, "−5"), (1e9, "10⁹")];
        for (v, text) in cases {
            assert_eq!(number(v), text);
        }
    }
}
