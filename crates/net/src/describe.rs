use std::path::Path;

use serde_json::{Map, Value};

use crate::{Act, Graph, NetError, Node, Op};

/// The description of a graph that TOML files and model metadata share:
/// `{"input": [..], "layers": [{"name", "op", .., "inputs"}]}`. `inputs` are names, `x` the
/// network's input; absent, a layer reads the one before it. A layer without a name is called by
/// its position from 0, as in PyTorch's `Sequential`.
impl Graph {
    /// The description as JSON.
    pub fn to_json(&self) -> Value {
        let name = |i: usize| if i == 0 { "x".to_string() } else { self.nodes[i - 1].name.clone() };
        let layers = self.nodes.iter().enumerate().map(|(i, node)| {
            let mut layer = Map::new();
            layer.insert("name".into(), node.name.clone().into());
            if let Ok(Value::Object(op)) = serde_json::to_value(&node.op) {
                layer.extend(op.into_iter().filter(|(_, v)| !v.is_null()));
            }
            if node.inputs != [i] {
                layer.insert("inputs".into(), node.inputs.iter().map(|&j| name(j)).collect());
            }
            Value::Object(layer)
        });
        let layers: Vec<Value> = layers.collect();
        serde_json::json!({ "input": self.input, "layers": layers })
    }

    /// Reads and checks the description. The `graph` of the shared MobileNet files (layers with an
    /// `id`, activations inside convolutions, TensorFlow's padding) is understood too.
    ///
    /// # Errors
    /// A description that is not well formed, or a graph that is not (see [`Graph::layout`]).
    pub fn from_json(value: &Value) -> Result<Self, NetError> {
        let bad = |why: String| NetError::graph("graph", why);
        let table =
            value.as_object().ok_or_else(|| bad("it is not a table with `input` and `layers`".into()))?;
        if let Some(key) = table.keys().find(|k| !matches!(k.as_str(), "input" | "layer" | "layers")) {
            return Err(bad(format!("unknown field `{key}`; use `input` and `layers`")));
        }
        let input: Vec<usize> = table
            .get("input")
            .and_then(|v| serde_json::from_value(v.clone()).ok())
            .ok_or_else(|| bad("`input` must be a list of whole numbers such as [28, 28, 1]".into()))?;
        let layers = table.get("layers").or_else(|| table.get("layer")).and_then(Value::as_array);
        let layers = layers.ok_or_else(|| bad("`layers` must be a list of tables".into()))?;
        let mut graph = Graph::new(&input);
        if is_mobile(value) {
            graph.input = input.get(1..).unwrap_or_default().to_vec();
            layers.iter().try_for_each(|layer| graph.push_mobile(layer))?;
        } else {
            layers.iter().try_for_each(|layer| graph.push_described(layer))?;
        }
        graph.layout()?;
        Ok(graph)
    }

    /// Reads the description from TOML: `input = [28, 28, 1]`, then `[[layer]]` tables.
    ///
    /// ```
    /// let text = r#"
    ///     input = [4]
    ///     [[layer]]
    ///     name = "fc1"
    ///     op = "linear"
    ///     out = 3
    ///     [[layer]]
    ///     op = "act"
    ///     act = "tanh"
    /// "#;
    /// let graph = thalweg_net::Graph::from_toml(text)?;
    /// assert_eq!(graph.layout()?.get("fc1.weight").unwrap().shape, [3, 4]);
    /// # Ok::<(), thalweg_net::NetError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Graph::from_json`]; for text that is not TOML, with the line.
    pub fn from_toml(text: &str) -> Result<Self, NetError> {
        let value = toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|s| text.get(..s.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            NetError::graph("graph", format!("line {line}: {}", e.message()))
        })?;
        Self::from_json(&value)
    }

    /// Reads a description from a `.json` file or, under any other name, a TOML file.
    ///
    /// # Errors
    /// A file that cannot be read; else as for [`Graph::from_json`].
    pub fn read(path: &Path) -> Result<Self, NetError> {
        let bad = |why: String| NetError::file(path, why);
        let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        if path.extension().is_some_and(|e| e == "json") {
            let value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
            Self::from_json(&value).map_err(|e| bad(e.to_string()))
        } else {
            Self::from_toml(&text).map_err(|e| bad(e.to_string()))
        }
    }

    fn push_described(&mut self, layer: &Value) -> Result<(), NetError> {
        let i = self.nodes.len();
        let table = layer.as_object().cloned();
        let mut op = table.ok_or_else(|| NetError::graph(&i.to_string(), "it is not a table"))?;
        let name = match op.remove("name") {
            None => i.to_string(),
            Some(name) => text(&name, &i.to_string(), "name")?,
        };
        let inputs = match op.remove("inputs") {
            None => vec![i],
            Some(names) => self.places(&name, &names)?,
        };
        let op =
            serde_json::from_value(Value::Object(op)).map_err(|e| NetError::graph(&name, e.to_string()))?;
        self.push_named(name, op, inputs)
    }

    fn push_named(&mut self, name: String, op: Op, inputs: Vec<usize>) -> Result<(), NetError> {
        if name == "x" || self.nodes.iter().any(|n| n.name == name) {
            return Err(NetError::graph(
                &name,
                "another layer (or the input, `x`) has this name; choose a new one",
            ));
        }
        self.nodes.push(Node { name, op, inputs });
        Ok(())
    }

    /// Where the layers of these names are.
    fn places(&self, layer: &str, names: &Value) -> Result<Vec<usize>, NetError> {
        let list = names
            .as_array()
            .ok_or_else(|| NetError::graph(layer, "`inputs` must be a list of layer names"))?;
        list.iter().map(|n| self.place(layer, &text(n, layer, "input")?)).collect()
    }

    fn place(&self, layer: &str, name: &str) -> Result<usize, NetError> {
        if name == "x" {
            return Ok(0);
        }
        let at = self.nodes.iter().position(|n| n.name == name).map(|j| j + 1);
        at.ok_or_else(|| NetError::graph(layer, format!("its input `{name}` is not a layer before it")))
    }

    /// A layer of the shared MobileNet files; the last linear layer's parameters are `head.*`.
    fn push_mobile(&mut self, layer: &Value) -> Result<(), NetError> {
        let id = text(&layer["id"], "graph", "id")?;
        let number = |key: &str| {
            let n = layer[key].as_u64().filter(|&n| n < 1 << 24).map(|n| n as usize);
            n.ok_or_else(|| NetError::graph(&id, format!("`{key}` must be a whole number")))
        };
        let out = || {
            let n = layer["out"].as_array().and_then(|s| s.last()).and_then(Value::as_u64);
            n.map(|n| n as usize).ok_or_else(|| NetError::graph(&id, "`out` must be the output's shape"))
        };
        // A convolution's activation is a node of its own, which takes the place of its `id`.
        let at = |name: &Value| {
            let name = text(name, &id, "input")?;
            let active = format!("{name}.act");
            self.place(&id, if self.nodes.iter().any(|n| n.name == active) { &active } else { &name })
        };
        let inputs = match &layer["inputs"] {
            Value::Array(names) => names.iter().map(at).collect::<Result<_, _>>()?,
            _ => vec![at(&layer["input"])?],
        };
        let relu6 = match layer["act"].as_str() {
            None | Some("none") => false,
            Some("relu6") => true,
            Some(other) => return Err(NetError::graph(&id, format!("act `{other}`; use relu6 or none"))),
        };
        let op = match layer["op"].as_str() {
            Some("conv") => {
                let shapes = if self.nodes.is_empty() { vec![self.input.clone()] } else { self.shapes()? };
                let (k, stride) = (number("k")?, number("stride")?);
                let pad = |axis: usize| {
                    let n = shapes[inputs[0]].get(axis).copied().unwrap_or(0);
                    let all = (n.div_ceil(stride.max(1)).max(1) - 1) * stride + k;
                    let all = all.saturating_sub(n);
                    [all / 2, all - all / 2]
                };
                let ([top, bottom], [left, right]) = (pad(0), pad(1));
                Op::Conv2d {
                    out: out()?,
                    k: [k, k],
                    stride: [stride, stride],
                    pad: [top, bottom, left, right],
                    dilation: [1, 1],
                    groups: number("groups")?,
                    circular: false,
                    bias: true,
                }
            }
            Some("add") => Op::Add {},
            Some("gap") => Op::GlobalAvgPool {},
            Some("linear") => Op::Linear { out: out()?, bias: true },
            other => return Err(NetError::graph(&id, format!("op {other:?}; use conv, add, gap or linear"))),
        };
        let name = if matches!(op, Op::Linear { .. }) { "head".into() } else { id.clone() };
        self.push_named(name, op, inputs)?;
        if relu6 {
            self.push_named(format!("{id}.act"), Op::Act { act: Act::Relu6 }, vec![self.nodes.len()])?;
        }
        Ok(())
    }
}

/// Whether a description is of the shared MobileNet files' kind.
pub(crate) fn is_mobile(graph: &Value) -> bool {
    graph["layers"][0].get("id").is_some()
}

fn text(value: &Value, layer: &str, what: &str) -> Result<String, NetError> {
    let text = value.as_str().map(str::to_string);
    text.ok_or_else(|| NetError::graph(layer, format!("its {what} {value} is not a string")))
}
