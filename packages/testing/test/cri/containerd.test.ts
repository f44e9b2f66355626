import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet } from '@cni-offload/linux'
import { isRoot, TestNetns } from '@cni-offload/testing'
import { Containerd, findContainerd, makeTestImage, missingForPods, TEST_IMAGE } from '@cni-offload/testing/cri'
import { expect, test } from 'vitest'

const binaries = await findContainerd()
const missing = (await missingForPods()) ?? (binaries === undefined ? 'containerd is missing: apt-get install containerd' : undefined)

/** What mentions a folder: arguments of processes, and mounts. */
async function traces(dir: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')
  return [...commands, ...mounts].filter((text) => text.includes(dir))
}

test.skipIf(!isRoot() || missing !== undefined)(
  `killed and disposed while a pod runs, it leaves no process, mount, control group nor file (${missing ?? 'needs root'})`,
  async () => {
    const work = await mkdtemp(join(tmpdir(), 'cni-offload-ctr-'))
    const dir = join(work, 'containerd')
    const cgroups = async (): Promise<string[]> =>
      (await readdir('/sys/fs/cgroup', { recursive: true })).filter((path) => path.includes(`cni-offload-test-${process.pid.toString(36)}`))
    try {
      await using net = createLinuxNet()
      await using netns = await TestNetns.create(net, 'ctr')
      await makeTestImage(join(work, 'image.tar'))
      {
        await using runtime = await Containerd.start({ dir, netns: netns.path, binaries: binaries!, image: join(work, 'image.tar') })
        // A pod with the node's network asks for no CNI.
        const pod = { name: 'p', uid: 'u', hostNetwork: true, dns: { servers: [], searches: [], options: [] } }
        const id = await runtime.cri.runPodSandbox(pod)
        const container = await runtime.cri.createContainer(id, pod, { name: 'c', image: TEST_IMAGE, command: ['/bin/sleep', '1000'] })
        await runtime.cri.startContainer(container)
        expect(await runtime.cri.execSync(container, ['/bin/echo', 'hello'])).toEqual({ code: 0, stdout: 'hello\n', stderr: '' })
        await runtime.down('SIGKILL')
        expect(await traces(dir)).not.toEqual([])
        expect(await cgroups()).not.toEqual([])
      }
      expect(await traces(dir)).toEqual([])
      expect(await cgroups()).toEqual([])
      expect(existsSync(dir)).toBe(false)
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  },
  120_000,
)
