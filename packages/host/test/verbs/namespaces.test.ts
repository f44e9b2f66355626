import { describe, expect, it } from 'vitest'
import { eventually, HostLab } from '../support/lab.ts'

const nobody = { path: '', containerId: '', identity: { namespace: '', name: '', uid: '' } }

describe.skipIf(process.getuid?.() !== 0)('pods whose namespaces do not last (needs root: makes network namespaces and links)', () => {
  it('a namespace that vanishes with its VF while the daemon is away costs nobody else anything', async () => {
    await using lab = await HostLab.start({ vfs: 2 })
    await using other = await lab.pod('other')
    const gone = await lab.pod('gone')
    for (const pod of [other, gone]) expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    const before = await lab.net.link(other.path, 'eth0')
    await lab.stopHost()
    await gone[Symbol.asyncDispose]()
    await lab.startHost()
    expect(await lab.net.link(other.path, 'eth0')).toEqual(before)
    expect(await lab.call('DEL', gone)).toEqual({ exitCode: 0, output: '' })
    expect((await lab.inspect()).leases.map(({ state }) => state).toSorted()).toEqual(['free', 'leased'])
    expect(await lab.call('DEL', other)).toEqual({ exitCode: 0, output: '' })
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })

  it('a path that is another pod’s by now is not looked into', async () => {
    await using lab = await HostLab.start({ vfs: 2 })
    const old = await lab.pod('old')
    await lab.call('ADD', old)
    await lab.stopHost()
    await lab.net.deleteNetns(old.path.slice('/run/netns/'.length))
    await lab.net.createNetns(old.path.slice('/run/netns/'.length))
    await using _again = old
    await lab.startHost()
    // The sandbox that came after it, at the same path.
    const next = { ...old, path: old.path, containerId: 'next-sandbox', identity: old.identity }
    expect((await lab.call('ADD', next)).exitCode).toBe(0)
    const has = await lab.net.link(old.path, 'eth0')
    expect(await lab.call('DEL', old)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.net.link(old.path, 'eth0')).toEqual(has)
    expect(await lab.call('DEL', next)).toEqual({ exitCode: 0, output: '' })
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })

  it('DEL without CNI_NETNS brings the VF home out of a pod that still stands', async () => {
    await using lab = await HostLab.start({ vfs: 1 })
    await using pod = await lab.pod()
    await lab.call('ADD', pod)
    expect(await lab.call('DEL', pod, { env: { CNI_NETNS: '' } })).toEqual({ exitCode: 0, output: '' })
    expect(await lab.net.link(pod.path, 'eth0')).toBeUndefined()
    expect(await lab.remains()).toEqual([])
  })

  it('every DEL twice at the same time is success twice, and frees each VF once', async () => {
    await using lab = await HostLab.start({ vfs: 4 })
    await using stack = new AsyncDisposableStack()
    const pods = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => stack.use(await lab.pod(name))))
    for (const pod of pods) await lab.call('ADD', pod)
    const answers = await Promise.all([...pods, ...pods].map((pod) => lab.call('DEL', pod)))
    expect(answers).toEqual(answers.map(() => ({ exitCode: 0, output: '' })))
    expect(await lab.remains()).toEqual([])
    expect(lab.agent.calls.filter((method) => method === 'detach')).toHaveLength(4)
  })

  it('GC with a stale cache, after the runtime was restarted, ends what the cache lacks and minds nothing that it has too much', async () => {
    await using lab = await HostLab.start({ vfs: 3 })
    await using stack = new AsyncDisposableStack()
    const [kept, lost] = await Promise.all(['kept', 'lost'].map(async (name) => stack.use(await lab.pod(name))))
    for (const pod of [kept!, lost!]) await lab.call('ADD', pod)
    const attachments = [kept!.containerId, 'never-seen', 'long-gone'].map((containerID) => ({ containerID, ifname: 'eth0' }))
    const gc = () => lab.call('GC', nobody, { env: { CNI_IFNAME: '' }, netconf: { 'cni.dev/valid-attachments': attachments } })
    expect(await Promise.all([gc(), gc()])).toEqual([
      { exitCode: 0, output: '' },
      { exitCode: 0, output: '' },
    ])
    expect((await lab.inspect()).attachments.map(({ key }) => key.containerId)).toEqual([kept!.containerId])
    expect(await lab.call('DEL', lost!)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.call('DEL', kept!)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.remains()).toEqual([])
  })
})
