import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { OffloadError } from '@cni-offload/sdk'
import type { ContainerdBinaries } from './binaries.ts'
import type { ContainerdPaths } from './config.ts'

const STOP_MS = 15_000

/**
 * Covers what containerd and runc write at fixed places. The mount namespace stays a peer of the one around it for the
 * folder of pods' namespaces only, so that other programs see them, as they do on a real node.
 */
const ENTER = `set -eu
config=$1 containerd=$2 run=$3 cache=$4
for at in /run /var/lib; do
  mount --make-private "$(findmnt -no TARGET -T "$at")"
  mount -t tmpfs cni-offload-test "$at"
done
mkdir /run/containerd /var/lib/cni
mount --bind "$run" /run/containerd
mount --bind "$cache" /var/lib/cni
exec "$containerd" --config "$config"`

/** Starts containerd in a network namespace and a mount namespace of its own. */
export function spawnContainerd(
  binaries: ContainerdBinaries,
  paths: ContainerdPaths,
  netns: string,
  env: Readonly<Record<string, string>>,
): ChildProcess {
  const log = openSync(paths.log, 'a')
  try {
    // Not `ip netns exec`: it mounts /sys anew, and the cgroups would be gone.
    const inside = ['unshare', '--mount', '--propagation', 'unchanged', '--', 'sh', '-c', ENTER, 'sh']
    const args = [paths.config, binaries.containerd, paths.run, paths.cniCache]
    return spawn('nsenter', [`--net=${netns}`, '--', ...inside, ...args], {
      detached: true,
      stdio: ['ignore', log, log],
      // containerd hands its environment on to CNI plugins: nothing of the test's own may leak into them.
      env: { PATH: `${binaries.folder}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: '/root', ...env },
    })
  } finally {
    closeSync(log)
  }
}

/** Ends a child and waits for it; after a grace time it is killed. */
export async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  try {
    await ended
  } finally {
    clearTimeout(timer)
  }
}

/** Kills the container processes of this containerd, and their shims, that are left. Shims carry its socket in their arguments. */
export async function killShims(socket: string): Promise<number> {
  let killed = 0
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const args = (await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (!(args[0] ?? '').includes('containerd-shim') || !args.includes(socket)) continue
    const children = await readFile(`/proc/${entry}/task/${entry}/children`, 'utf8').catch(() => '')
    for (const pid of [...children.trim().split(/\s+/), entry].filter((text) => text !== '')) killed += kill(Number(pid))
  }
  return killed
}

function kill(pid: number): number {
  try {
    process.kill(pid, 'SIGKILL')
    return 1
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return 0
    throw OffloadError.from(error, 'IO_FAILURE', `cannot kill ${pid}`)
  }
}
