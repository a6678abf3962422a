/// Marks the upper halves of this thread's vector registers as unused (`vzeroupper`); a few cycles,
/// and nothing on machines without AVX.
///
/// To be called after products and factorisations by faer: their AVX kernels leave the registers in
/// use, and on some processors (Zen 5 for one) all code for 128-bit vectors, which is what a program
/// for any x86-64 consists of, then runs at half its speed until somebody does this.
#[inline]
pub(crate) fn clear_registers() {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(avx) = pulp::core_arch::x86::Avx::try_new() {
        avx._mm256_zeroupper();
    }
}

/// Runs what calls faer and clears the registers after it.
#[inline]
pub(crate) fn cleared<R>(run: impl FnOnce() -> R) -> R {
    let result = run();
    clear_registers();
    result
}
