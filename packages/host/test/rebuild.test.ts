import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { eventually, HostLab } from './support/lab.ts'

const GARBAGE = 'no journal any more'.repeat(1000)

describe.skipIf(process.getuid?.() !== 0)('a daemon whose journal cannot be read (needs root: network namespaces)', () => {
  it('leaves running pods alone and has them again once the agent has told of them', async () => {
    await using lab = await HostLab.start({ vfs: 3 })
    await using one = await lab.pod('one')
    await using two = await lab.pod('two')
    const added = await lab.call('ADD', one)
    expect((await lab.call('ADD', two)).exitCode).toBe(0)
    const before = await lab.net.link(one.path, 'eth0')
    await lab.stopHost()
    await writeFile(lab.journal, GARBAGE)
    lab.agent.become('unreachable')
    await lab.startHost()
    expect(await lab.net.link(one.path, 'eth0')).toMatchObject({ index: before?.index, up: true })
    expect((await lab.inspect()).leases.map(({ state }) => state).toSorted()).toEqual(['free', 'quarantined', 'quarantined'])
    expect(JSON.parse((await lab.call('DEL', two)).output), 'not lost: tried again by the runtime').toMatchObject({ code: 11 })
    // A second crash before the agent is back must not make it forget that something was lost.
    await lab.stopHost()
    await lab.startHost()
    expect(await lab.net.link(one.path, 'eth0')).toMatchObject({ index: before?.index, up: true })

    lab.agent.become('ready')
    await eventually(async () => (await lab.inspect()).attachments.length === 2, 'both are known again')
    await eventually(() => lab.host.state === 'RUNNING' && lab.agent.resyncs.at(-1)?.length === 2, 'the agent is told of both')
    expect(lab.agent.attachments.size).toBe(2)
    expect((await lab.call('CHECK', one, { netconf: { prevResult: JSON.parse(added.output) } })).output).toBe('')
    for (const pod of [one, two]) expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })

  it('takes over what a newer agent has in a state that is not known here: its pod may be running', async () => {
    await using lab = await HostLab.start({ vfs: 1 })
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    await lab.stopHost()
    await writeFile(lab.journal, GARBAGE)
    lab.agent.state = 'unknown'
    await lab.startHost()
    await eventually(() => lab.agent.resyncs.at(-1)?.length === 1, 'the agent is told of it, so that it is no stray')
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })

  it('leases no VF whose owner nobody knows, until it has come home', async () => {
    await using lab = await HostLab.start({ vfs: 1 })
    await using next = await lab.pod('next')
    {
      await using pod = await lab.pod('web')
      await lab.call('ADD', pod)
      await lab.stopHost()
      await writeFile(lab.journal, GARBAGE)
      lab.agent.attachments.clear()
      await lab.startHost()
      await eventually(() => lab.agent.resyncs.length > 1, 'the agent is connected')
      expect(JSON.parse((await lab.call('ADD', next)).output)).toMatchObject({ code: 11 })
      expect(await lab.net.link(pod.path, 'eth0')).toMatchObject({ up: true })
      await lab.stopHost()
      await lab.net.apply(pod.path, [{ op: 'link.move', dev: 'eth0', netns: lab.hostNetns.path, name: 'soft0v0' }])
    }
    await lab.startHost()
    expect((await lab.call('ADD', next)).exitCode).toBe(0)
  })
})
