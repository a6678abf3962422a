/// A part of a bilinear product of planes: left plane × right plane → result.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub left: usize,
    pub right: usize,
    /// Whether an earlier term has written the result.
    pub adds: bool,
}

impl Term {
    pub fn result(self) -> usize {
        self.left + self.right
    }
}

/// The terms of values and tangents, by left plane: what reads the same plane comes together.
pub(super) fn terms(left: usize, right: usize) -> impl Iterator<Item = Term> {
    let first = (0..right).map(|right| Term { left: 0, right, adds: false });
    first.chain((1..left).map(move |left| Term { left, right: 0, adds: left < right }))
}

/// One image out of each plane.
#[derive(Clone, Copy)]
pub(super) struct Images<'a, T> {
    pub all: &'a [T],
    pub image: usize,
    pub images: usize,
    pub len: usize,
}

impl<'a, T> Images<'a, T> {
    #[inline(always)]
    pub fn plane(&self, p: usize) -> &'a [T] {
        &self.all[(p * self.images + self.image) * self.len..][..self.len]
    }
}
