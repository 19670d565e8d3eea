//! The tables of the control plane's own file, and of what a proxy says about its control plane.
//!
//! Pure.

use super::super::format;
use super::super::shape::{Object, Shape};
use super::{object, optional, required};

/// What a proxy says about its control plane.
pub(in super::super) static CONTROL_PLANE: Object = object(
    "proxy's control plane",
    "Where rules and replica sets come from beside this file. What this file says wins.",
    &[
        required(
            "address",
            Shape::Choice(&[
                Shape::Text(&format::CONTROL_PLANE),
                Shape::List {
                    of: &Shape::Text(&format::CONTROL_PLANE),
                    min: 1,
                },
            ]),
            "The control plane's xDS address, such as `http://127.0.0.1:15010`; of several, another is tried when one fails.",
        ),
        optional(
            "snapshot",
            Shape::Text(&format::FILE),
            "heddle-state",
            "The folder, relative to this file, in which the last good state is kept. A proxy that starts without its control plane serves from it.",
        ),
    ],
);

/// A control plane's file.
pub(in super::super) static CONTROL_PLANE_FILE: Object = object(
    "control plane file",
    "Everything one control plane runs by.",
    &[
        optional(
            "api",
            Shape::Object(&API),
            "",
            "The HTTP API: health, metrics, what is connected, what is refused.",
        ),
        optional(
            "xds",
            Shape::Object(&XDS),
            "",
            "Where proxies, Envoy and gRPC clients are served.",
        ),
        required(
            "sources",
            Shape::Object(&SOURCES),
            "Where the mesh is described.",
        ),
    ],
);

pub(in super::super) static API: Object = object(
    "api",
    "Plain HTTP, for people and for metrics.",
    &[optional(
        "listen",
        Shape::Text(&format::ADDRESS),
        "127.0.0.1:15014",
        "Its address. Whoever reaches it reads all rules, so it is this host alone unless you say otherwise.",
    )],
);

pub(in super::super) static XDS: Object = object(
    "xds",
    "xDS over gRPC: state of the world and incremental, aggregated.",
    &[
        optional(
            "listen",
            Shape::Text(&format::ADDRESS),
            "127.0.0.1:15010",
            "Its address. Plaintext; proxies of other hosts reach it when it is theirs to reach.",
        ),
        optional(
            "outbound",
            Shape::Text(&format::ADDRESS),
            "127.0.0.1:4140",
            "Where a proxy that takes its listeners from here, as Envoy does, listens for its host's calls.",
        ),
    ],
);

pub(in super::super) static SOURCES: Object = object(
    "sources",
    "Where the mesh is described.",
    &[required(
        "folder",
        Shape::Object(&FOLDER),
        "A folder of rule documents and Clusters.",
    )],
);

pub(in super::super) static FOLDER: Object = object(
    "folder source",
    "A folder whose `.yaml` and `.yml` files hold documents. Those below it count too, hidden ones do not.",
    &[required(
        "dir",
        Shape::Text(&format::FILE),
        "The folder, relative to this file. A change applies within a second; a document with errors is refused and its last good form stays.",
    )],
);
