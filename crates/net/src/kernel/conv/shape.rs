/// Shape of a convolution over images `[in_h, in_w, in_c]`; one axis (`conv1d`) has `in_h = k_h = 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Height of the input.
    pub in_h: usize,
    /// Width of the input.
    pub in_w: usize,
    /// Channels of the input.
    pub in_c: usize,
    /// Channels of the output.
    pub out_c: usize,
    /// Height of the kernel.
    pub k_h: usize,
    /// Width of the kernel.
    pub k_w: usize,
    /// Steps between output pixels, vertical and horizontal.
    pub stride: [usize; 2],
    /// Distances between taps, vertical and horizontal.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other; divides `in_c` and `out_c`.
    pub groups: usize,
    /// Rows above and below, columns left and right that are added to the image.
    pub pad: [usize; 4],
    /// The padding continues the image periodically instead of with zeros.
    pub circular: bool,
}

impl ConvShape {
    /// Height of the output; 0 if the kernel is larger than the padded image.
    pub fn out_h(&self) -> usize {
        out_len(self.in_h + self.pad[0] + self.pad[1], self.k_h, self.stride[0], self.dilation[0])
    }

    /// Width of the output; 0 if the kernel is larger than the padded image.
    pub fn out_w(&self) -> usize {
        out_len(self.in_w + self.pad[2] + self.pad[3], self.k_w, self.stride[1], self.dilation[1])
    }

    /// Numbers in the weight `[out_c, in_c/groups, k_h, k_w]`.
    pub fn weight_len(&self) -> usize {
        self.out_c * (self.in_c / self.groups) * self.k_h * self.k_w
    }

    /// Numbers in an input image.
    pub fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.in_c
    }

    /// Numbers in an output image.
    pub fn out_len(&self) -> usize {
        self.out_h() * self.out_w() * self.out_c
    }

    pub(super) fn depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_c && self.groups == self.out_c
    }

    /// A 1×1 convolution is a matrix product over all pixels.
    pub(super) fn pointwise(&self) -> bool {
        self.k_h * self.k_w == 1 && self.stride == [1, 1] && self.groups == 1 && self.pad == [0; 4]
    }
}

fn out_len(padded: usize, k: usize, stride: usize, dilation: usize) -> usize {
    padded.checked_sub(dilation * (k - 1) + 1).map_or(0, |room| room / stride + 1)
}
