//! From a path to what it names.

use crate::failure::Failure;
use crate::registry::{self, Resource};

/// What a path names.
#[derive(Debug)]
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health,
    /// `/version`.
    Version,
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: the other groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` and `/apis/GROUP/VERSION`: the resources of a group and version.
    Resources(&'static str, &'static str),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3Index,
    /// `/openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/VERSION`.
    OpenApiV3(&'static str, &'static str),
    /// Objects.
    Objects(Target),
}

/// The objects, or the object, that a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    /// Empty for all namespaces and for kinds without.
    pub(crate) namespace: String,
    /// Empty for all.
    pub(crate) name: String,
    pub(crate) part: Part,
}

/// Which part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
}

impl Target {
    /// The key of the object, or the prefix of the objects.
    pub(crate) fn key(&self) -> String {
        self.resource.key(&self.namespace, &self.name)
    }
}

/// Reads a path.
///
/// # Errors
/// 404 if nothing is served there.
pub(crate) fn parse(path: &str) -> Result<Route, Failure> {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    match steps.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Ok(Route::Health),
        ["version"] => Ok(Route::Version),
        ["api"] => Ok(Route::CoreVersions),
        ["apis"] => Ok(Route::Groups),
        ["apis", group] if *group != "v1" => Ok(Route::Group((*group).to_owned())),
        ["openapi", "v2"] => Ok(Route::OpenApiV2),
        ["openapi", "v3"] => Ok(Route::OpenApiV3Index),
        ["openapi", "v3", rest @ ..] => match version(rest)? {
            (group, version, []) => Ok(Route::OpenApiV3(group, version)),
            _ => Err(Failure::no_such_path()),
        },
        all => match version(all)? {
            (group, version, []) => Ok(Route::Resources(group, version)),
            (group, version, rest) => target(group, version, rest).map(Route::Objects),
        },
    }
}

/// Splits `api/v1/REST` and `apis/GROUP/VERSION/REST`.
fn version<'s, 'p>(
    steps: &'s [&'p str],
) -> Result<(&'static str, &'static str, &'s [&'p str]), Failure> {
    let (group, version, rest) = match steps {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !group.is_empty() => (*group, *version, rest),
        _ => return Err(Failure::no_such_path()),
    };
    let known = registry::GROUPS
        .iter()
        .find(|known| **known == (group, version));
    let (group, version) = known.ok_or_else(Failure::no_such_path)?;
    Ok((group, version, rest))
}

fn target(group: &str, version: &str, steps: &[&str]) -> Result<Target, Failure> {
    let (namespace, plural, rest) = match steps {
        ["namespaces", _, "status"] | ["namespaces"] | ["namespaces", _] => {
            ("", "namespaces", &steps[1..])
        }
        ["namespaces", namespace, plural, rest @ ..] => (*namespace, *plural, rest),
        [plural, rest @ ..] => ("", *plural, rest),
        [] => return Err(Failure::no_such_path()),
    };
    let resource = registry::find(group, version, plural).ok_or_else(Failure::no_such_path)?;
    let (name, part) = match rest {
        [] => ("", Part::Whole),
        [name] => (*name, Part::Whole),
        [name, "status"] if resource.status => (*name, Part::Status),
        _ => return Err(Failure::no_such_path()),
    };
    // One object of a namespaced kind needs its namespace, and the other kinds have none.
    let fits = if resource.namespaced {
        name.is_empty() || !namespace.is_empty()
    } else {
        namespace.is_empty()
    };
    if !fits {
        return Err(Failure::no_such_path());
    }
    Ok(Target {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        part,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Option<(String, Part)> {
        match parse(path) {
            Ok(Route::Objects(target)) => Some((target.key(), target.part)),
            _ => None,
        }
    }

    #[test]
    fn paths_of_objects() {
        for (path, expected) in [
            ("/api/v1/namespaces", "/registry/core/namespaces/"),
            ("/api/v1/namespaces/a", "/registry/core/namespaces/a"),
            ("/api/v1/pods", "/registry/core/pods/"),
            ("/api/v1/namespaces/a/pods", "/registry/core/pods/a/"),
            ("/api/v1/namespaces/a/pods/p", "/registry/core/pods/a/p"),
            (
                "/apis/projectcalico.org/v3/tiers/t",
                "/registry/projectcalico.org/tiers/t",
            ),
        ] {
            assert_eq!(
                key(path),
                Some((expected.to_owned(), Part::Whole)),
                "{path}"
            );
        }
        assert_eq!(
            key("/api/v1/nodes/n/status").map(|found| found.1),
            Some(Part::Status)
        );
        assert_eq!(
            key("/api/v1/namespaces/n/status").map(|found| found.1),
            Some(Part::Status)
        );
    }

    #[test]
    fn what_is_not_served() {
        for path in [
            "/",
            "/api/v2",
            "/apis/apps/v2/deployments",
            "/api/v1/pods/p",
            "/api/v1/secrets",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/namespaces/a/pods/p/exec",
            "/api/v1/namespaces/a/configmaps/c/status",
            "/apis/projectcalico.org/v3/bgppeers",
            "/apis//v1/pods",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }
}
