import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import { FakeCryptoEngine } from '@cni-offload/testing'
import { CILIUM_VERSIONS, FakeCiliumAgent } from '@cni-offload/testing/cilium'
import { FakeKubectl, failed, prints, remoteExit } from '@cni-offload/testing/kubectl'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { agentSubjects } from '../../src/ipsec/agents.ts'
import { surveyPage } from '../../src/ipsec/page.ts'
import { nodeKeys, nodeKeysText, underWay } from '../../src/ipsec/rotation-progress.ts'
import { holds, look, survey, type Survey, watch } from '../../src/ipsec/survey.ts'
import { thisNode } from '../../src/ipsec/this-node.ts'
import { runTraffic } from '../../src/ipsec/traffic.ts'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import { agentsOn, askOn, GET_NODES, GET_PODS, NAMESPACE, nodesWith, statusOf, within } from './support.ts'

const kubectlOf = (fake: FakeKubectl): Kubectl => new Kubectl({ executable: fake.executable })
const noPause = (): Promise<void> => Promise.resolve()

describe('the agents of a cluster', { timeout: 120_000 }, () => {
  const once = async (fake: FakeKubectl): Promise<Survey> => {
    const subjects = await agentSubjects(kubectlOf(fake), NAMESPACE, within())
    return survey(subjects, await look(subjects, within()))
  }

  it('are asked one by one, and told of one by one', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect(GET_PODS, prints(agentsOn('a', 'b')))
      .expect(askOn('a'), prints(statusOf(483)))
      .expect(askOn('b'), prints({ mode: 'Disabled' }))
    const found = await once(fake)
    expect([found.all, ...found.nodes].map(({ subject, encrypted, inHardware }) => [subject, encrypted.answer, inHardware.answer])).toEqual(
      [
        ['all nodes', 'partly', 'unknown'],
        ['a', 'yes', 'unknown'],
        ['b', 'no', 'no'],
      ],
    )
    expect(found.nodes[0]?.evidence).toContainEqual({
      what: 'highest sequence number',
      value: '483',
      from: 'cilium-dbg encrypt status -o json in kube-system/cilium-a',
    })
    const page = surveyPage(found, ['rotation: none'])
    expect(page).toMatch(
      /^node {7}encrypted  in hardware\na {10}yes {8}unknown\nb {10}no {9}no\nall nodes  partly {5}unknown\nrotation: none\n/,
    )
    expect(page).toContain('  encrypted: partly: not on b')
    expect(page).toContain('  · keys in use: 2 (cilium-dbg encrypt status -o json in kube-system/cilium-a)')
    fake.verify()
  })

  it('that cannot be asked, or say something else, are unknown, with the reason', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect(GET_PODS, prints(agentsOn('a', 'b', 'c')))
      .expect(askOn('a'), remoteExit(1, '', 'cannot get daemon encryption status'))
      .expect(askOn('b'), failed('error: unable to upgrade connection'))
      .expect(askOn('c'), prints('Encryption: IPsec (2/2 nodes)\n'))
    const { all, nodes } = await once(fake)
    expect(all.encrypted.answer).toBe('unknown')
    expect(nodes.map(({ evidence }) => evidence[0]?.value)).toEqual([
      'exit code 1: cannot get daemon encryption status',
      expect.stringContaining('unable to upgrade connection'),
      'it does not tell of one node',
    ])
  })

  it('are not asked all at the same time', async () => {
    const gate = Promise.withResolvers<void>()
    let running = 0
    class Counting extends Kubectl {
      override async exec(): ReturnType<Kubectl['exec']> {
        running += 1
        await gate.promise
        return { exitCode: 0, stdout: JSON.stringify(statusOf(1)), stderr: '' }
      }
    }
    await using fake = await FakeKubectl.start()
    const names = Array.from({ length: 20 }, (_, index) => `n${index}`)
    fake.expect(GET_PODS, prints(agentsOn(...names)))
    const subjects = await agentSubjects(new Counting({ executable: fake.executable }), NAMESPACE, within())
    const looking = look(subjects, within())
    await new Promise(setImmediate)
    expect(running).toBe(8)
    gate.resolve()
    await looking
    expect(running).toBe(20)
  })

  it('have to be there', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect(GET_PODS, prints({ items: [] }))
    await expect(once(fake)).rejects.toMatchObject({ code: 'NOT_FOUND', hint: expect.stringContaining('--socket') })
  })

  it('write the key that they send with into their CiliumNodes', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect(GET_NODES, prints(nodesWith({ a: 3, b: 4, c: 0, d: 3 }))).expect(GET_NODES, prints(nodesWith({ a: 3, c: 0 })))
    const keys = await nodeKeys(kubectlOf(fake), within())
    expect([nodeKeysText(keys), underWay(keys)]).toEqual(['SPI 3 on a, d; SPI 4 on b; none on c', true])
    expect(underWay(await nodeKeys(kubectlOf(fake), within()))).toBe(false)
  })
})

describe('a verification', { timeout: 120_000 }, () => {
  it('holds when packets were encrypted between two looks, on each node, however long that takes', async () => {
    await using fake = await FakeKubectl.start()
    let traffic = 0
    let looks = 0
    fake
      .expect(GET_PODS, prints(agentsOn('a', 'b')))
      .expect(askOn('a'), () => prints(statusOf(10 + traffic)), { times: 'any' })
      // One node is slow to show it.
      .expect(askOn('b'), () => prints(statusOf((looks += 1) > 2 ? 20 : 10)), { times: 'any' })
    const subjects = await agentSubjects(kubectlOf(fake), NAMESPACE, within())
    const found = await watch(
      subjects,
      {
        traffic: () => {
          traffic = 5
          return Promise.resolve()
        },
        withinMs: 60_000,
        hardware: false,
        pause: noPause,
      },
      within(),
    )
    expect(holds(found, false)).toBe(true)
    expect(looks).toBe(3)
    expect(found.nodes[0]?.evidence).toContainEqual(expect.objectContaining({ what: 'highest sequence number', value: '10 → 15' }))
    expect(holds(found, true), 'nobody told of hardware').toBe(false)
  })

  it('does not when nothing grows until the time is over', async () => {
    await using fake = await FakeKubectl.start()
    fake.expect(GET_PODS, prints(agentsOn('a'))).expect(askOn('a'), prints(statusOf(10)), { times: 2 })
    const subjects = await agentSubjects(kubectlOf(fake), NAMESPACE, within())
    const found = await watch(subjects, { withinMs: 0, hardware: false, pause: noPause }, within())
    expect(holds(found, false)).toBe(false)
    expect(found.all.encrypted.because).toContain('nothing was sent in between')
    fake.verify()
  })

  it('fails with the traffic that was to be shown', async () => {
    const told = {
      code: 'CHECK_FAILED',
      message: expect.stringMatching(/"sh -c .*exit code 3: nobody there/),
      hint: expect.stringContaining('traffic'),
    }
    await expect(runTraffic(['sh', '-c', 'echo nobody there >&2; exit 3'], within())).rejects.toMatchObject(told)
    await expect(runTraffic(['/nonexistent/ping'], within())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    await runTraffic(['true'], within())
  })
})

describe('the DPU itself', { timeout: 120_000 }, () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ipsec-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const association = (packets: bigint): SecurityAssociation => ({
    source: '10.0.0.1',
    destination: '10.0.0.2',
    spi: 3,
    requestId: 1,
    algorithm: 'rfc4106(gcm(aes))',
    packets,
    bytes: packets * 100n,
    sent: packets,
    addedAt: 1,
    offload: 'none',
  })

  it.each(CILIUM_VERSIONS)('tells by agent %s, kernel and engine that hardware encrypts, and that it does not', async (version) => {
    await using agent = await FakeCiliumAgent.start({ socket: join(folder, 'cilium.sock'), version, config: { encryption: 'IPsec' } })
    const engine = new FakeCryptoEngine()
    let packets = 10n
    const subject = thisNode({
      socket: agent.socket,
      engine: { from: 'the engine', read: () => engine },
      associations: () => [association(packets)],
      algorithms: () => Promise.resolve([]),
    })
    const run = async (through: bigint): Promise<Survey> =>
      await watch(
        [subject],
        {
          traffic: () => {
            packets += 7n
            engine.process(through)
            return Promise.resolve()
          },
          withinMs: 0,
          hardware: true,
          pause: noPause,
        },
        within(),
      )
    const hard = await run(7n)
    expect([hard.all.encrypted.answer, hard.all.inHardware.answer, holds(hard, true)]).toEqual(['yes', 'yes', true])
    const soft = await run(0n)
    expect([soft.all.encrypted.answer, soft.all.inHardware.because, holds(soft, true)]).toEqual([
      'yes',
      'the engine counted 0 of 7 packets',
      false,
    ])
  })

  it('is not known without its agent, and not encrypted where the agent says so', async () => {
    const kernel = { associations: () => [], algorithms: () => Promise.resolve([]) }
    const away = [thisNode({ socket: join(folder, 'none.sock'), ...kernel })]
    const { all } = survey(away, await look(away, within()))
    expect(all.encrypted.answer).toBe('unknown')
    expect(all.evidence).toContainEqual(expect.objectContaining({ what: 'not read', value: expect.stringContaining('none.sock') }))
    await using agent = await FakeCiliumAgent.start({ socket: join(folder, 'cilium.sock') })
    const there = [thisNode({ socket: agent.socket, ...kernel })]
    expect(survey(there, await look(there, within())).all.encrypted).toEqual({ answer: 'no', because: 'the agent has no encryption' })
  })
})
