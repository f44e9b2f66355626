# Debian packages to unpack and not to install: apt with sources, lists and a cache of its own. Nothing of the machine's is changed.
# Sourced by ./run.

# private_apt FOLDER RELEASE… : makes such an apt in a folder, with these releases from the mirror that the machine uses. Fails where the
# machine has none.
private_apt() {
  local work=$1 uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  shift
  command -v apt-get >/dev/null && [[ -f $keyring ]] || return 1
  uri=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null | awk '$2 == "Debian" {print $1; exit}')
  [[ -n $uri ]] || return 1
  mkdir -p "$work"/{lists,cache/archives}/partial
  printf "deb [signed-by=$keyring] $uri %s main\n" "$@" >"$work/sources.list"
  PRIVATE_APT=(-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists"
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=true -o Acquire::Languages=none -o Acquire::Retries=1
    -o Acquire::http::Timeout=20 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
}

private_apt_get() { timeout 300 apt-get "${PRIVATE_APT[@]}" "$@"; }
private_apt_cache() { timeout 60 apt-cache "${PRIVATE_APT[@]}" "$@"; }
