import { join } from 'node:path'
import { TEST_IMAGE } from './image.ts'

/** Everything of one containerd lies in one folder. */
export interface ContainerdPaths {
  /** Its folder. */
  readonly dir: string
  /** Configuration file. */
  readonly config: string
  /** Socket of the API. */
  readonly socket: string
  /** What survives a reboot. */
  readonly root: string
  /** What does not; the network namespaces of the pods are mounted below it. */
  readonly state: string
  /** Network namespaces of the pods. */
  readonly netns: string
  /** Stands for `/run/containerd`. */
  readonly run: string
  /** Stands for `/var/lib/cni`. */
  readonly cniCache: string
  /** Where the runtime looks for CNI executables. */
  readonly cniBin: string
  /** Where it looks for network configurations. */
  readonly cniConf: string
  /** Log. */
  readonly log: string
}

/** The paths of a containerd in a folder. */
export function containerdPaths(dir: string): ContainerdPaths {
  const state = join(dir, 'state')
  return {
    dir,
    config: join(dir, 'config.toml'),
    socket: join(dir, 'containerd.sock'),
    root: join(dir, 'root'),
    state,
    netns: join(state, 'io.containerd.grpc.v1.cri', 'netns'),
    run: join(dir, 'run'),
    cniCache: join(dir, 'cni-cache'),
    cniBin: join(dir, 'cni-bin'),
    cniConf: join(dir, 'cni-conf'),
    log: join(dir, 'containerd.log'),
  }
}

/**
 * Configuration of a containerd that lives beside others. In a container without CAP_SYS_RESOURCE runc may not lower a
 * process's oom_score_adj, and without AppArmor in the kernel no profile may be asked for. Version 2 is what 1.6 reads; newer ones
 * convert it.
 */
export function containerdConfig(paths: ContainerdPaths): string {
  const text = JSON.stringify
  const unwanted = ['snapshotter.v1.aufs', 'snapshotter.v1.btrfs', 'snapshotter.v1.devmapper', 'snapshotter.v1.zfs', 'internal.v1.tracing']
  return `version = 2
root = ${text(paths.root)}
state = ${text(paths.state)}
disabled_plugins = ${text([...unwanted.map((name) => `io.containerd.${name}`), 'io.containerd.tracing.processor.v1.otlp'])}
[grpc]
  address = ${text(paths.socket)}
[ttrpc]
  address = ${text(`${paths.socket}.ttrpc`)}
[plugins."io.containerd.internal.v1.opt"]
  path = ${text(join(paths.dir, 'opt'))}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${text(TEST_IMAGE)}
  disable_apparmor = true
  disable_tcp_service = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${text(paths.cniBin)}
    conf_dir = ${text(paths.cniConf)}
`
}
