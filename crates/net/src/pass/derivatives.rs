//! The loss and its derivatives.

use thalweg_core::{LayerStats, Seed};

use super::{Directions, Pass};
use crate::kernel::Scalar;
use crate::layer::{Grads, Mode, Params};
use crate::loss::{self, Batch};
use crate::planes::PlanesMut;
use crate::{Net, NetError};

impl<T: Scalar> Pass<T> {
    fn loss_backward(
        &mut self,
        net: &Net<T>,
        params: Params<'_, T>,
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
        grads: Grads<'_, T>,
    ) -> Result<f64, NetError> {
        let last = net.shapes.len() - 1;
        let value = self.loss_cotangent(net, batch, last)?;
        self.backward(net, params, buffers, mode, last, Some(grads), false);
        Ok(value)
    }

    /// Puts the loss's cotangent on the output node.
    fn loss_cotangent(&mut self, net: &Net<T>, batch: &Batch<'_, T>, last: usize) -> Result<f64, NetError> {
        self.clear_cotangents(net.shapes.len());
        let (c, len) = (net.classes(), self.planes(last).len);
        net.loss.check(len / c, c, batch)?;
        let mut losses = std::mem::take(&mut self.losses);
        losses.clear();
        losses.resize(len / c, (0.0, 0.0));
        let mut dy = self.take(len * (1 + self.r));
        let target = &mut PlanesMut { data: &mut dy, len, acc: false };
        loss::run(&net.loss, c, batch, self.planes(last), target, &mut losses);
        self.losses = losses;
        self.cotangents[last] = Some(dy);
        Ok(pairwise_sum(&self.losses))
    }

    /// Mean loss of a batch without derivatives.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table, a label outside the classes.
    pub fn loss(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
    ) -> Result<f64, NetError> {
        self.run(net, theta, buffers, batch.x, Directions::default(), mode)?;
        self.loss_cotangent(net, batch, net.shapes.len() - 1)
    }

    /// Mean loss of a batch; `grad` (parameter length) is overwritten by its gradient.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table, a label outside the classes.
    pub fn loss_grad(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
        grad: &mut [T],
    ) -> Result<f64, NetError> {
        NetError::check("the gradient buffer", grad.len(), net.layout.len())?;
        self.run(net, theta, buffers, batch.x, Directions::default(), mode)?;
        let params = Params { value: theta, tangents: &[] };
        self.loss_backward(net, params, buffers, batch, mode, Grads { value: grad, tangents: Vec::new() })
    }

    /// As [`Pass::loss_grad`], and `products[i]` is overwritten by `H · probes[i]`: one primal
    /// forward and backward pass shared by the gradient and all products, on the same batch, masks
    /// and batch statistics (forward-over-reverse; Pearlmutter 1994).
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table, a label outside the classes.
    pub fn loss_grad_hvp(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
        grad: &mut [T],
        probes: &[&[T]],
        products: &mut [Vec<T>],
    ) -> Result<f64, NetError> {
        NetError::check("the gradient buffer", grad.len(), net.layout.len())?;
        NetError::check("the list of products", products.len(), probes.len())?;
        for h in products.iter() {
            NetError::check("a product buffer", h.len(), net.layout.len())?;
        }
        self.run(net, theta, buffers, batch.x, Directions { theta: probes, x: &[] }, mode)?;
        let params = Params { value: theta, tangents: probes };
        let tangents = products.iter_mut().map(Vec::as_mut_slice).collect();
        self.loss_backward(net, params, buffers, batch, mode, Grads { value: grad, tangents })
    }

    /// [`Pass::loss_grad_hvp`] of a large batch that is given in pieces: the loss of all rows
    /// together, its gradient and its products with the same probes, with the memory of one piece.
    ///
    /// In training mode batch normalisation sees each piece by itself, which then is another
    /// function than the whole batch's; [`Pass::update_running`] takes the last piece. Each piece draws dropout
    /// masks of its own. [`Pass::stats`] are those of all pieces together.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table, a label outside the classes.
    pub fn loss_grad_hvp_pieces(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        pieces: &[Batch<'_, T>],
        mode: Mode,
        grad: &mut [T],
        probes: &[&[T]],
        products: &mut [Vec<T>],
    ) -> Result<f64, NetError> {
        let n = net.layout.len();
        NetError::check("the gradient buffer", grad.len(), n)?;
        NetError::check("the list of products", products.len(), probes.len())?;
        let mut part = vec![T::ZERO; n];
        let mut parts = vec![part.clone(); probes.len()];
        let (mut loss, mut total) = (0.0, 0.0);
        grad.fill(T::ZERO);
        for h in products.iter_mut() {
            NetError::check("a product buffer", h.len(), n)?;
            h.fill(T::ZERO);
        }
        let mut stats = Vec::new();
        for (k, piece) in pieces.iter().enumerate() {
            let mode = match mode {
                Mode::Train { seed, step } => Mode::Train { seed: Seed(seed.0 ^ (k as u64) << 48), step },
                Mode::Eval => Mode::Eval,
            };
            let mean = self.loss_grad_hvp(net, theta, buffers, piece, mode, &mut part, probes, &mut parts)?;
            let weight = net.loss.total(piece, self.losses.len());
            total += weight;
            // Running means: nothing overflows, and the order is that of the pieces.
            let share = weight / total;
            loss += share * (mean - loss);
            blend_stats(&mut stats, self.take_stats(), share);
            let share = T::from_f64(share);
            let blend =
                |all: &mut [T], one: &[T]| all.iter_mut().zip(one).for_each(|(a, b)| *a += share * (*b - *a));
            blend(grad, &part);
            products.iter_mut().zip(&parts).for_each(|(h, part)| blend(h, part));
        }
        self.stats = stats;
        if pieces.is_empty() { Err(NetError::EmptyBatch) } else { Ok(loss) }
    }

    /// Vector–Jacobian product: puts `cotangent` on node `at` (its index as in
    /// [`Pass::node_output`]) after a forward pass on `x` and returns the input's cotangent; `grad`
    /// takes the parameters' if given.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table.
    pub fn vjp(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        x: &[T],
        mode: Mode,
        at: usize,
        cotangent: &[T],
        grad: Option<&mut [T]>,
    ) -> Result<Vec<T>, NetError> {
        self.run(net, theta, buffers, x, Directions::default(), mode)?;
        NetError::check("the cotangent", cotangent.len(), self.planes(at).len)?;
        self.clear_cotangents(net.shapes.len());
        let mut dy = self.take(cotangent.len());
        dy.copy_from_slice(cotangent);
        self.cotangents[at] = Some(dy);
        let params = Params { value: theta, tangents: &[] };
        let grads = grad.map(|value| Grads { value, tangents: Vec::new() });
        self.backward(net, params, buffers, mode, at, grads, true);
        Ok(self.cotangents[0].take().unwrap_or_else(|| vec![T::ZERO; x.len()]))
    }

    /// Gradient of the loss with respect to the input.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table, a label outside the classes.
    pub fn input_grad(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
    ) -> Result<(f64, Vec<T>), NetError> {
        self.run(net, theta, buffers, batch.x, Directions::default(), mode)?;
        let last = net.shapes.len() - 1;
        let value = self.loss_cotangent(net, batch, last)?;
        self.backward(net, Params { value: theta, tangents: &[] }, buffers, mode, last, None, true);
        Ok((value, self.cotangents[0].take().unwrap_or_else(|| vec![T::ZERO; batch.x.len()])))
    }
}

/// Statistics of the pieces so far and of the next one, whose loss has that share of the mean.
fn blend_stats(all: &mut Vec<LayerStats>, next: Vec<LayerStats>, share: f64) {
    if all.is_empty() {
        *all = next;
        return;
    }
    // Derivatives are those of a mean: they shrink as it takes in more.
    let blend = |all: &mut [f64], next: &[f64], keep: f64, take: f64| {
        all.iter_mut().zip(next).for_each(|(a, b)| *a = keep * *a + take * b);
    };
    for (all, next) in all.iter_mut().zip(next) {
        let rows = all.rows + next.rows;
        let part = next.rows as f64 / rows as f64;
        blend(&mut all.input_mean, &next.input_mean, 1.0 - part, part);
        blend(&mut all.output_grad, &next.output_grad, 1.0 - share, share);
        if let (Some(all), Some(next)) = (&mut all.moments, next.moments) {
            blend(&mut all.input, &next.input, 1.0 - part, part);
            blend(&mut all.output, &next.output, (1.0 - share).powi(2), share.powi(2));
        }
        all.rows = rows;
    }
}

/// Sum of the values in a fixed tree order.
fn pairwise_sum(x: &[(f64, f64)]) -> f64 {
    if x.len() <= 32 {
        return x.iter().map(|x| x.0).sum();
    }
    let (a, b) = x.split_at(x.len() / 2);
    pairwise_sum(a) + pairwise_sum(b)
}
