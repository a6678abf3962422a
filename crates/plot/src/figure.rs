use std::path::Path;

use crate::draw::Drawing;
use crate::{PlotError, Theme, raster, save, theme};

/// What is drawn, back to front as given within each kind.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    Line { series: usize, points: Vec<(f64, f64)> },
    Band { series: usize, points: Vec<(f64, f64, f64)> },
    Scatter { series: usize, points: Vec<(f64, f64)> },
    Path { series: usize, points: Vec<(f64, f64)> },
    Histogram { series: usize, values: Vec<f64>, bins: usize },
    Bars { series: usize, bars: Vec<(String, f64, f64)> },
    Field(Field),
}

/// Values on a grid over a rectangle: cells of a heat map, or nodes of filled contours.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub x: (f64, f64),
    pub y: (f64, f64),
    pub rows: usize,
    pub cols: usize,
    /// Row by row from the bottom, `rows · cols` of them.
    pub values: Vec<f64>,
    /// Number of contour levels; 0 for a heat map.
    pub levels: usize,
}

/// A picture, built up layer by layer and rendered on demand.
///
/// Each name has one colour and one entry beside the picture: give a line and its band the same
/// name. Colours go by the order in which names first appear ([`Figure::names`] fixes it). What
/// cannot be drawn (not finite, beyond ±10³⁰⁰, or ≤ 0 on a log axis) leaves a gap.
#[derive(Clone, Debug)]
pub struct Figure {
    pub(crate) title: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) log_x: bool,
    pub(crate) log_y: bool,
    pub(crate) log_colour: bool,
    pub(crate) colour_label: String,
    pub(crate) x_range: Option<(f64, f64)>,
    pub(crate) y_range: Option<(f64, f64)>,
    pub(crate) size: (f64, f64),
    pub(crate) names: Vec<String>,
    pub(crate) layers: Vec<Layer>,
}

impl Figure {
    /// An empty figure of 640 × 400 pixels; an empty title takes no room.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: String::new(),
            y_label: String::new(),
            log_x: false,
            log_y: false,
            log_colour: false,
            colour_label: String::new(),
            x_range: None,
            y_range: None,
            size: (640.0, 400.0),
            names: Vec::new(),
            layers: Vec::new(),
        }
    }

    /// Width and height in pixels, at least 320 × 240. The height grows if the legend needs it.
    pub fn size(mut self, width: f64, height: f64) -> Self {
        self.size = (width.clamp(320.0, 4000.0), height.clamp(240.0, 4000.0));
        self
    }

    /// Text below the horizontal axis.
    pub fn x_label(mut self, label: &str) -> Self {
        self.x_label = label.into();
        self
    }

    /// Text above the vertical axis; under bars, the name of their heights.
    pub fn y_label(mut self, label: &str) -> Self {
        self.y_label = label.into();
        self
    }

    /// Makes the horizontal axis logarithmic; values ≤ 0 leave gaps.
    pub fn log_x(mut self) -> Self {
        self.log_x = true;
        self
    }

    /// Makes the vertical axis logarithmic; values ≤ 0 leave gaps.
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    /// Shows exactly this horizontal range; the default shows all data.
    pub fn x_range(mut self, from: f64, to: f64) -> Self {
        self.x_range = Some((from, to));
        self
    }

    /// Shows exactly this vertical range; the default shows all data within the horizontal range.
    pub fn y_range(mut self, from: f64, to: f64) -> Self {
        self.y_range = Some((from, to));
        self
    }

    /// Makes the colour scale of heat map and contours logarithmic.
    pub fn log_colour(mut self) -> Self {
        self.log_colour = true;
        self
    }

    /// Text above the colour bar.
    pub fn colour_label(mut self, label: &str) -> Self {
        self.colour_label = label.into();
        self
    }

    /// Gives these names the first colours, so that a method keeps its colour across figures.
    /// A name without data gets no entry.
    pub fn names(mut self, names: &[&str]) -> Self {
        for name in names {
            self.series(name);
        }
        self
    }

    /// Colour number of a name.
    fn series(&mut self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }

    /// A line through `(x, y)` points; a point without neighbours shows as a dot.
    pub fn line(mut self, name: &str, points: &[(f64, f64)]) -> Self {
        let series = self.series(name);
        self.layers.push(Layer::Line { series, points: points.into() });
        self
    }

    /// A shaded band through `(x, low, high)`. On a log axis a low end ≤ 0 reaches to the bottom.
    pub fn band(mut self, name: &str, points: &[(f64, f64, f64)]) -> Self {
        let series = self.series(name);
        self.layers.push(Layer::Band { series, points: points.into() });
        self
    }

    /// A dot per `(x, y)`.
    pub fn scatter(mut self, name: &str, points: &[(f64, f64)]) -> Self {
        let series = self.series(name);
        self.layers.push(Layer::Scatter { series, points: points.into() });
        self
    }

    /// A trajectory: a line with small dots, a ring at its start and a large dot at its end.
    pub fn path(mut self, name: &str, points: &[(f64, f64)]) -> Self {
        let series = self.series(name);
        self.layers.push(Layer::Path { series, points: points.into() });
        self
    }

    /// Counts in `bins` cells of equal width (equal ratio on a log axis). Several histograms of a
    /// figure share their cells: the finest division over the range of all.
    pub fn histogram(mut self, name: &str, values: &[f64], bins: usize) -> Self {
        let series = self.series(name);
        self.layers.push(Layer::Histogram { series, values: values.into(), bins: bins.clamp(1, 1000) });
        self
    }

    /// Bars `(label, height, error)` with whiskers of ± error (0 for none). Bars of several names
    /// stand side by side under their labels. A figure with bars shows nothing but bars.
    pub fn bars(mut self, name: &str, bars: &[(String, f64, f64)]) -> Self {
        let series = self.series(name);
        self.layers.push(Layer::Bars { series, bars: bars.into() });
        self
    }

    /// Coloured cells over the rectangle `x` × `y`: `values` row by row from the bottom,
    /// `rows · cols` of them; missing ones stay blank.
    pub fn heat_map(
        mut self,
        x: (f64, f64),
        y: (f64, f64),
        rows: usize,
        cols: usize,
        values: &[f64],
    ) -> Self {
        let values = values.into();
        self.layers.push(Layer::Field(Field { x, y, rows, cols, values, levels: 0 }));
        self
    }

    /// Filled contours of `f` over the rectangle `x` × `y` as a calm ground for paths, in
    /// `levels` equal steps (of the logarithm, with [`Figure::log_colour`]).
    pub fn contours(
        mut self,
        x: (f64, f64),
        y: (f64, f64),
        levels: usize,
        f: impl Fn(f64, f64) -> f64,
    ) -> Self {
        const N: usize = 161;
        let node = |(a, b): (f64, f64), i: usize| a + (b - a) * i as f64 / (N - 1) as f64;
        let values = (0..N * N).map(|i| f(node(x, i % N), node(y, i / N))).collect();
        let levels = levels.clamp(1, theme::SHADES);
        self.layers.push(Layer::Field(Field { x, y, rows: N, cols: N, values, levels }));
        self
    }

    /// The picture as an SVG document that follows the reader's light or dark preference.
    pub fn svg(&self) -> String {
        Drawing::new(self).svg(&self.title, Some(&theme::adaptive_sheet()))
    }

    /// The picture as an SVG document for one theme.
    pub fn svg_themed(&self, theme: Theme) -> String {
        Drawing::new(self).svg(&self.title, Some(&theme::sheet(theme)))
    }

    /// The picture as a PNG file with `scale` pixels per unit of [`Figure::size`].
    ///
    /// # Errors
    /// If `scale` is not positive or the picture would exceed 16,384 pixels in a direction.
    pub fn png(&self, theme: Theme, scale: f64) -> Result<Vec<u8>, PlotError> {
        raster::png(&Drawing::new(self), theme, scale)
    }

    /// Writes the picture in the format of the file's extension: `.svg` (both themes) or `.png`
    /// (light, two pixels per unit). The file appears whole or not at all.
    ///
    /// # Errors
    /// If the extension is another one, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "svg" => save(path, self.svg().as_bytes()),
            "png" => save(path, &self.png(Theme::Light, 2.0)?),
            _ => Err(PlotError::Extension(path.into())),
        }
    }
}
