import { readFile } from 'node:fs/promises'
import { exec, inNetns } from '@cni-offload/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Pod, RuntimeLab, type RuntimeNode, runtimeOf } from './nodes.ts'

const { binaries, missing } = await runtimeOf('stable')
const VFS = 4

describe.skipIf(binaries === undefined)(`containerd as kubelet drives it (${missing || 'needs root'})`, () => {
  let lab: RuntimeLab
  let one: RuntimeNode
  let two: RuntimeNode

  beforeAll(async () => {
    lab = await RuntimeLab.up({ nodes: 2, vfs: VFS, binaries: binaries!, extra: { host: { log: { level: 'debug' } } } })
    ;[one, two] = [lab.nodes[0]!, lab.nodes[1]!]
  })

  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  afterEach(async () => {
    await one.expectNothingLeft()
    await two.expectNothingLeft()
  })

  test('pods on two nodes: dual stack, host name, name resolution, and each reaches the others over the DPUs', async () => {
    const pods = [await one.run({ hostname: 'first' }), await one.run(), await two.run()]
    const [a, b, c] = pods as [Pod, Pod, Pod]
    for (const pod of pods) expect(pod.ips).toEqual([expect.stringMatching(/^10\.244\.\d\.\d+$/), expect.stringMatching(/^fd00:244:\d::/)])
    const inA = await one.container(a)
    const inC = await two.container(c)
    expect(await inA('hostname')).toBe('first\n')
    expect(await inC('hostname')).toBe(`${c.spec.name}\n`)
    const resolv = await inA('cat /etc/resolv.conf')
    for (const line of ['nameserver 10.96.0.10', 'nameserver fd00:96::a', 'search default.svc.cluster.local', 'options ndots:5'])
      expect(resolv.split('\n')).toContain(line)
    for (const ip of a.ips) expect(await inA('ip addr show dev eth0')).toContain(ip)
    for (const ip of [...b.ips, ...c.ips]) expect(await inA(`ping -c 2 -W 5 ${ip}`)).toContain('2 packets received')
    for (const ip of a.ips) expect(await inC(`ping -c 2 -W 5 ${ip}`)).toContain('2 packets received')
    for (const [node, pod] of [
      [one, a],
      [one, b],
      [two, c],
    ] as const) {
      await node.stop(pod)
      await node.remove(pod)
    }
  })

  test.each<[string, (node: RuntimeNode, pod: Pod) => Promise<unknown>]>([
    ['stop, then remove', async (node, pod) => [await node.stop(pod), await node.remove(pod)]],
    ['remove without stop', (node, pod) => node.remove(pod)],
    [
      'stop twice: the second DEL has neither namespace nor earlier result',
      async (node, pod) => [await node.stop(pod), await node.stop(pod), await node.remove(pod)],
    ],
    [
      'four stops at the same moment',
      async (node, pod) => [await Promise.all([1, 2, 3, 4].map(() => node.stop(pod))), await node.remove(pod)],
    ],
    [
      'stop and remove at the same moment',
      async (node, pod) => [await Promise.allSettled([node.stop(pod), node.remove(pod)]), await node.remove(pod)],
    ],
    ['remove twice', async (node, pod) => [await node.remove(pod), await node.remove(pod)]],
  ])('%s', async (_, order) => {
    const before = (await one.answered('DEL')).length
    const pod = await one.run()
    await order(one, pod)
    const codes = (await one.answered('DEL')).slice(before)
    expect(codes.length).toBeGreaterThan(0)
    expect(new Set(codes)).toEqual(new Set(['OK']))
  })

  test('all pods of a node start at once and end at once', async () => {
    const pods = await Promise.all(Array.from({ length: VFS }, () => one.run()))
    expect(new Set(pods.flatMap(({ ips }) => ips)).size).toBe(2 * VFS)
    await Promise.all(pods.map((pod) => one.stop(pod)))
    await Promise.all(pods.map((pod) => one.remove(pod)))
  })

  test('more pods than VFs: the pod is refused with the reason, leaves nothing, and starts when there is room', async () => {
    const pods = await Promise.all(Array.from({ length: VFS }, () => two.run()))
    const late = two.spec()
    await expect(two.runtime.cri.runPodSandbox(late)).rejects.toThrow(/no VF|no free VF|VF.*free/i)
    await two.remove(pods[0]!)
    const pod = await two.run({ ...late, attempt: 1 })
    for (const other of [...pods.slice(1), pod]) await two.remove(other)
  })

  test('a pod with the network of the node needs no VF', async () => {
    const spec = one.spec({ hostNetwork: true })
    const before = (await one.answered('ADD')).length
    const id = await one.runtime.cri.runPodSandbox(spec)
    expect((await one.answered('ADD')).length).toBe(before)
    await one.remove({ id })
  })

  test.each(['while the agent still hangs', 'when the agent answers again'])(
    'an ADD that outlasts its deadline is undone %s',
    async (when) => {
      const { pid } = one.node.agent
      process.kill(pid!, 'SIGSTOP')
      try {
        await expect(one.runtime.cri.runPodSandbox(one.spec(), { timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
        if (when.startsWith('while')) {
          // kubelet ends whatever the runtime still lists.
          await expect
            .poll(
              async () => {
                for (const sandbox of await one.runtime.cri.listPodSandboxes()) await one.remove(sandbox)
                return await one.runtime.namespaces()
              },
              { timeout: 60_000, interval: 100 },
            )
            .toEqual([])
        }
      } finally {
        process.kill(pid!, 'SIGCONT')
      }
      await one.expectNothingLeft()
      const pod = await one.run()
      expect(await (await one.container(pod))(`ping -c 1 -W 5 10.244.1.1`)).toContain('1 packets received')
      await one.remove(pod)
    },
  )

  test('a port of the node leads to the pod by its DPU, as long as the pod is there', async () => {
    const rules = async (): Promise<string> =>
      (await exec(inNetns(lab.e2e.lab.netns(one.node, 'agent'), ['iptables', '-t', 'nat', '-S']))).stdout
    const server = await one.run({
      portMappings: [{ containerPort: 80, hostPort: 8080 }],
      annotations: { 'kubernetes.io/ingress-bandwidth': '10M' },
    })
    expect(await rules()).toContain('--dport 8080')
    const caller = await two.run()
    const [serve, call] = [await one.container(server), await two.container(caller)]
    await serve('mkdir /www && echo served > /www/index.html && httpd -p 80 -h /www')
    for (const dpu of ['172.30.0.1', '[fd30::1]']) expect(await call(`wget -qO- http://${dpu}:8080/`)).toBe('served\n')
    await one.remove(server)
    expect(await rules()).not.toContain('--dport 8080')
    await expect(call('wget -T 2 -qO- http://172.30.0.1:8080/')).rejects.toThrow()
    await two.remove(caller)
  })

  test('the host daemon is killed between ADD and DEL; while it is away a stop fails and is repeated', async () => {
    const pod = await one.run()
    const inside = await one.container(pod)
    await lab.e2e.lab.kill(one.node, 'host')
    expect(await inside('ping -c 1 -W 5 10.244.1.1')).toContain('1 packets received')
    await expect(one.stop(pod)).rejects.toThrow(/offload-host/)
    await lab.e2e.lab.start(one.node, 'host')
    await one.stop(pod)
    await one.remove(pod)
  })

  test('the agent is killed: pods keep their network, and a pod that ends meanwhile is given back later', async () => {
    const [a, b, c] = [await one.run(), await one.run(), await two.run()]
    const inA = await one.container(a)
    await lab.e2e.lab.kill(one.node, 'agent')
    for (const ip of c.ips) expect(await inA(`ping -c 1 -W 5 ${ip}`)).toContain('1 packets received')
    await one.stop(b)
    await one.remove(b)
    await lab.e2e.lab.start(one.node, 'agent')
    for (const ip of c.ips) expect(await inA(`ping -c 1 -W 5 ${ip}`)).toContain('1 packets received')
    await one.remove(a)
    await two.remove(c)
  })

  test('containerd is killed while pods run: they keep addresses and network, and end as usual', async () => {
    const pod = await one.run()
    const inside = await one.container(pod)
    await one.runtime.down('SIGKILL')
    await one.runtime.up()
    await expect.poll(() => one.notReady(), { timeout: 30_000, interval: 50 }).toBe('')
    expect(await one.runtime.cri.podSandboxStatus(pod.id)).toEqual({ ready: true, ips: pod.ips, netns: pod.netns, pid: pod.pid })
    expect(await inside('ping -c 1 -W 5 10.244.1.1')).toContain('1 packets received')
    await one.stop(pod)
    await one.remove(pod)
  })

  test('the namespace of a pod is gone, as after a reboot: the pod ends and the VF is free again', async () => {
    const pod = await one.run()
    process.kill(pod.pid, 'SIGKILL')
    await expect.poll(async () => (await one.runtime.cri.podSandboxStatus(pod.id)).ready, { timeout: 30_000, interval: 50 }).toBe(false)
    expect((await exec(['umount', '--lazy', pod.netns])).code).toBe(0)
    expect((await exec(['rm', pod.netns])).code).toBe(0)
    await one.stop(pod)
    await one.remove(pod)
    await one.expectNothingLeft()
    const pods = await Promise.all(Array.from({ length: VFS }, () => one.run()))
    await Promise.all(pods.map((each) => one.remove(each)))
  })

  test('uninstalled, the runtime has no network; installed again, it has', async () => {
    const { cniConf } = one.runtime.paths
    expect(JSON.parse(await readFile(`${cniConf}/05-cni-offload.conflist`, 'utf8')).cniVersion).toBe('1.0.0')
    await one.uninstall()
    await expect.poll(() => one.notReady(), { timeout: 30_000, interval: 50 }).toMatch(/no network config|not initialized/)
    await one.install()
    await expect.poll(() => one.notReady(), { timeout: 30_000, interval: 50 }).toBe('')
    await one.remove(await one.run())
  })

  test('after all of it, neither host daemons nor agents hold anything', async () => {
    await lab.expectNothingHeld()
  })
})
