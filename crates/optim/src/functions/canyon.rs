use std::f64::consts::PI;

use super::Smooth;

/// GrandCanyon3 of the plane: a winding valley with barriers across it; the minimum 0 is at 0. Its second
/// derivative jumps on the line x + 1.6 y = 0.
#[derive(Clone, Copy)]
pub(super) struct Canyon {
    /// Height of the bumps in the valley.
    pub bumps: f64,
}

/// Frequency of the bumps.
const PACE: f64 = 0.75 * PI;

impl Canyon {
    /// Gradient, and the second derivatives xx, xy, yy. Every factor is a function of one of x, v (the offset
    /// from the valley's floor) and b.
    fn derivatives(&self, x: f64, y: f64) -> ([f64; 2], [f64; 3]) {
        let v = y - ((x - 1.0) * (x - 4.0).powi(2) / 8.0 + 2.0);
        let (vx, vxx) = (-(x - 4.0) * (3.0 * x - 6.0) / 8.0, -(6.0 * x - 18.0) / 8.0);

        // 25 (1 − exp(−e)), e = 1.4 v² q(x).
        let q = (-0.002 * x.powi(4)).exp();
        let (q1, q2) = (-0.008 * x.powi(3) * q, (6.4e-5 * x.powi(6) - 0.024 * x * x) * q);
        let wall = 25.0 * (-1.4 * v * v * q).exp();
        let (ex, ey) = (1.4 * (2.0 * v * vx * q + v * v * q1), 2.8 * v * q);
        let exx = 1.4 * (2.0 * (vx * vx + v * vxx) * q + 4.0 * v * vx * q1 + v * v * q2);
        let (exy, eyy) = (2.8 * (vx * q + v * q1), 2.8 * q);

        // 4 w(v) s(b), b = −x − 1.6 y, s = (1 − exp(−9b²))⁺ where b > 0.
        let w = (1.0 - 2.0 * v.powi(4)).exp();
        let (w1, w2) = (-8.0 * v.powi(3) * w, (64.0 * v.powi(6) - 24.0 * v * v) * w);
        let b = -x - 1.6 * y;
        let fall = (-9.0 * b * b).exp();
        let [s, s1, s2] =
            if b > 0.0 { [1.0 - fall, 18.0 * b * fall, (18.0 - 324.0 * b * b) * fall] } else { [0.0; 3] };

        let wave = |t: f64| self.bumps * PACE * (PACE * t).sin();
        let curl = |t: f64| self.bumps * PACE * PACE * (PACE * t).cos();
        let gradient = [
            wall * ex + 0.8 * x + wave(x) + 4.0 * (w1 * vx * s - w * s1),
            wall * ey + 0.4 * y + wave(y) + 4.0 * (w1 * s - 1.6 * w * s1),
        ];
        let hessian = [
            wall * (exx - ex * ex)
                + 0.8
                + curl(x)
                + 4.0 * ((w2 * vx * vx + w1 * vxx) * s - 2.0 * w1 * vx * s1 + w * s2),
            wall * (exy - ex * ey) + 4.0 * (w2 * vx * s - (1.6 * vx + 1.0) * w1 * s1 + 1.6 * w * s2),
            wall * (eyy - ey * ey) + 0.4 + curl(y) + 4.0 * (w2 * s - 3.2 * w1 * s1 + 2.56 * w * s2),
        ];
        (gradient, hessian)
    }
}

impl Smooth for Canyon {
    fn value(&self, z: &[f64]) -> f64 {
        let (x, y) = (z[0], z[1]);
        let v = y - ((x - 1.0) * (x - 4.0).powi(2) / 8.0 + 2.0);
        let b = -x - 1.6 * y;
        let valley = 25.0 * (1.0 - (-1.4 * v * v * (-0.002 * x.powi(4)).exp()).exp());
        let waves = (1.0 - (PACE * x).cos()) + (1.0 - (PACE * y).cos());
        let step = ((1.0 - (-9.0 * b * b).exp()) * b.signum()).max(0.0);
        valley + 0.4 * x * x + 0.2 * y * y + self.bumps * waves + 4.0 * (1.0 - 2.0 * v.powi(4)).exp() * step
    }

    fn value_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad.copy_from_slice(&self.derivatives(z[0], z[1]).0);
        self.value(z)
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        let [xx, xy, yy] = self.derivatives(x[0], x[1]).1;
        product.copy_from_slice(&[xx * z[0] + xy * z[1], xy * z[0] + yy * z[1]]);
        true
    }
}
