use thalweg_core::LayerStats;

use super::Pass;
use crate::Net;
use crate::kernel::Scalar;
use crate::layer::{Cx, Grads, Io, Mode, Params};
use crate::planes::{Planes, PlanesMut};
use crate::stats::{Gather, layer_stats};

impl<T: Scalar> Pass<T> {
    /// Runs backward from the cotangent that lies on node `from`. `grads` may be absent.
    pub(super) fn backward(
        &mut self,
        net: &Net<T>,
        params: Params<'_, T>,
        buffers: &[T],
        mode: Mode,
        from: usize,
        mut grads: Option<Grads<'_, T>>,
        want_input: bool,
    ) {
        let mut needed = vec![want_input];
        for (i, node) in net.graph.nodes.iter().enumerate() {
            let own = grads.is_some() && net.trains(i);
            needed.push(own || node.inputs.iter().any(|&j| needed[j]));
        }
        if let Some(grads) = &mut grads {
            for (i, blocks) in net.blocks.iter().enumerate() {
                clear(net, grads, blocks.iter().filter(|b| i >= from || net.layout.blocks()[**b].frozen));
            }
        }
        let mut stats = Vec::new();
        for i in (0..from).rev() {
            let Some(dy) = self.cotangents[i + 1].take() else {
                // The output does not depend on it: what lies in its blocks is of an earlier call.
                if let Some(grads) = &mut grads {
                    clear(net, grads, &net.blocks[i]);
                }
                continue;
            };
            if !needed[i + 1] {
                self.pool.push(dy);
                continue;
            }
            let inputs = &net.graph.nodes[i].inputs;
            let mut targets: Vec<(bool, Option<Vec<T>>)> = Vec::new();
            for &j in inputs {
                let len = self.batch * net.size(j) * (1 + self.r);
                let old = self.cotangents[j].take();
                let acc = old.is_some();
                targets
                    .push((acc, if needed[j] { Some(old.unwrap_or_else(|| self.take(len))) } else { None }));
            }
            let mut cache = std::mem::take(&mut self.caches[i]);
            std::mem::swap(&mut cache.scratch, &mut self.scratch);
            let cx = Cx { batch: self.batch, r: self.r, mode, params, buffers, zeros: &self.zeros };
            let x: Vec<_> = inputs.iter().map(|&j| self.planes(j)).collect();
            let mut dx: Vec<_> = targets
                .iter_mut()
                .map(|(acc, data)| {
                    data.as_mut().map(|data| PlanesMut { len: data.len() / (1 + self.r), data, acc: *acc })
                })
                .collect();
            let dy_planes = Planes { len: dy.len() / (1 + self.r), data: &dy, zeros: &self.zeros };
            if self.gather != Gather::Nothing
                && let Some(map) = net.layers[i].linear_map()
            {
                let (own, y) = (&net.blocks[i], &net.shapes[i + 1]);
                let (x, dy) = (x[0].value(), dy_planes.value());
                let of = layer_stats(map, y[y.len() - 1], x, dy, self.gather);
                stats.push(LayerStats { weight: own[0], bias: own.get(1).copied(), ..of });
            }
            let io = Io { x: &x, y: self.planes(i + 1), dy: dy_planes, dx: &mut dx };
            let own = grads.as_mut().filter(|_| net.trains(i));
            let trained = own.is_some();
            net.layers[i].backward(&cx, io, own, &mut cache);
            if trained && let Some(grads) = &mut grads {
                // A node may own a frozen block beside a trained one.
                clear(net, grads, net.blocks[i].iter().filter(|b| net.layout.blocks()[**b].frozen));
            }
            std::mem::swap(&mut cache.scratch, &mut self.scratch);
            self.caches[i] = cache;
            for (&j, (_, data)) in inputs.iter().zip(targets) {
                self.cotangents[j] = data;
            }
            if self.keep_cotangents {
                self.cotangents[i + 1] = Some(dy);
            } else {
                self.pool.push(dy);
            }
        }
        stats.reverse();
        self.stats = stats;
    }

    /// A buffer of `len` numbers from the pool; its content is stale.
    pub(super) fn take(&mut self, len: usize) -> Vec<T> {
        let fits = |v: &Vec<T>| v.capacity() >= len;
        let best =
            (0..self.pool.len()).filter(|&i| fits(&self.pool[i])).min_by_key(|&i| self.pool[i].capacity());
        let mut v = best.map_or_else(Vec::new, |i| self.pool.swap_remove(i));
        v.resize(len, T::ZERO);
        v
    }

    pub(super) fn clear_cotangents(&mut self, nodes: usize) {
        self.pool.extend(self.cotangents.drain(..).flatten());
        self.cotangents.resize_with(nodes, || None);
    }
}

/// Zeroes the gradients of these blocks.
fn clear<'a, T: Scalar>(net: &Net<T>, grads: &mut Grads<'_, T>, blocks: impl IntoIterator<Item = &'a usize>) {
    for &b in blocks {
        let range = net.layout.blocks()[b].range();
        grads.value[range.clone()].fill(T::ZERO);
        grads.tangents.iter_mut().for_each(|h| h[range.clone()].fill(T::ZERO));
    }
}
