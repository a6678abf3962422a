//! The memory of limited-memory BFGS (Liu and Nocedal 1989): pairs of steps and gradient differences,
//! and the product with the inverse Hessian that they imply.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use thalweg_core::Real;

use crate::vector::each2;

/// A step with what it did to the gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Pair<T> {
    /// The step, `[n]`.
    pub s: Vec<T>,
    /// Difference of the gradients after and before it, `[n]`.
    pub y: Vec<T>,
    /// sᵀy > 0.
    pub sy: f64,
}

/// Pairs of the last steps, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "T: Real")]
pub struct Pairs<T>(VecDeque<Pair<T>>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Real> Pairs<T> {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The newest pair.
    pub fn newest(&self) -> Option<&Pair<T>> {
        self.0.back()
    }

    /// Remembers a pair, and forgets the oldest if there are more than `history`.
    pub fn push(&mut self, pair: Pair<T>, history: usize) {
        self.0.push_back(pair);
        if self.0.len() > history {
            self.0.pop_front();
        }
    }

    /// As [`push`](Self::push), if the curvature is positive, sᵀy > `least` ‖s‖ ‖y‖: this keeps the implied
    /// matrix positive definite. `dot` is the inner product.
    pub fn learn(
        &mut self,
        (s, y): (Vec<T>, Vec<T>),
        least: f64,
        history: usize,
        dot: impl Fn(&[T], &[T]) -> f64,
    ) {
        let sy = dot(&s, &y);
        if sy > least * dot(&y, &y).sqrt() * dot(&s, &s).sqrt() {
            self.push(Pair { s, y, sy }, history);
        }
    }

    /// −H g for the matrix H that the pairs imply, from H₀ = sᵀy/yᵀy I of the newest; −g without any.
    pub fn direction(&self, g: &[T], dot: impl Fn(&[T], &[T]) -> f64) -> Vec<T> {
        let mut q = g.to_vec();
        self.apply(
            &mut q,
            &dot,
            |pair| Some(pair.sy),
            |q, newest| {
                let gamma = T::from_f64(newest.map_or(1.0, |(pair, sy)| sy / dot(&pair.y, &pair.y)));
                q.iter_mut().for_each(|q| *q *= gamma);
            },
        );
        q.iter_mut().for_each(|q| *q = -*q);
        q
    }

    /// q ← H q by the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4) in the inner product
    /// `dot`. `product` gives sᵀy of a pair, or nothing if it is to be left out; `initial` applies H₀ and is
    /// told the newest pair that is not, with its sᵀy.
    pub fn apply(
        &self,
        q: &mut [T],
        dot: impl Fn(&[T], &[T]) -> f64,
        product: impl Fn(&Pair<T>) -> Option<f64>,
        initial: impl FnOnce(&mut [T], Option<(&Pair<T>, f64)>),
    ) {
        let mut used = Vec::with_capacity(self.0.len());
        for pair in self.0.iter().rev() {
            let Some(sy) = product(pair) else { continue };
            let alpha = dot(&pair.s, q) / sy;
            let a = T::from_f64(alpha);
            each2(q, &pair.y, |q, y| *q -= a * y);
            used.push((pair, sy, alpha));
        }
        initial(q, used.first().map(|(pair, sy, _)| (*pair, *sy)));
        for (pair, sy, alpha) in used.into_iter().rev() {
            let a = T::from_f64(alpha - dot(&pair.y, q) / sy);
            each2(q, &pair.s, |q, s| *q += a * s);
        }
    }
}
