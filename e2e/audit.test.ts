import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AuditDifference, auditDifferences, auditLab, auditStoppedLab, describeDifference, type Holding } from '@cni-offload/cli'
import { describe, expect, test } from 'vitest'
import { E2eLab, needsRoot } from './fixture.ts'

const kinds = (differences: readonly AuditDifference[]): string[] =>
  [...new Set(differences.map(({ change, kind }) => `${change} ${kind}`))].toSorted()

/** The common case: nothing is held beyond what was held before. */
const same = (before: readonly Holding[], after: readonly Holding[]): void => {
  expect(auditDifferences(before, after).map(describeDifference)).toEqual([])
}

describe.skipIf(needsRoot)('audit of a lab (needs root for namespaces)', () => {
  test('sees what pods hold on both sides, and what is forgotten anywhere', async () => {
    await using e2e = await E2eLab.up({
      nodes: 1,
      vfs: 3,
      adapter: 'delegate',
      networks: [{ name: 'net1', adapter: 'hello', ports: ['soft0/1'] }],
    })
    const { lab, net } = e2e
    const node = lab.node(1)
    await e2e.addPod(node, 'warm')
    const ended = async (pod: string): Promise<void> => {
      expect(await e2e.call(node, 'DEL', pod)).toMatchObject({ exitCode: 0 })
      await lab.deletePod(pod)
    }
    await ended('warm')
    const idle = await auditLab(lab, net)
    same(idle, await auditLab(lab, net))

    await e2e.addPod(node, 'p1')
    expect(kinds(auditDifferences(idle, await auditLab(lab, net)))).toEqual([
      ...['leaked address', 'leaked journal row', 'leaked lease', 'leaked link', 'leaked port', 'leaked queueing discipline'],
      ...['lost VF', 'lost port'],
    ])
    await ended('p1')
    same(idle, await auditLab(lab, net))

    // What a daemon that runs has started is no leak, as long as it is that daemon's: it may ask a plugin for its STATUS right now.
    const child = spawn('nsenter', [`--net=${lab.netns(node, 'agent')}`, '--', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
    child.stdin.write('it runs\n')
    await once(child.stdout, 'data')
    const strangers = `leaked on node1: process cat in ${node.dpuNetns}`
    const leaked = async (): Promise<string[]> => auditDifferences(idle, await auditLab(lab, net)).map(describeDifference)
    expect(await leaked()).toEqual([strangers])
    const { pid } = node.agent
    node.agent.pid = process.pid
    const asOwn = await leaked()
    node.agent.pid = pid
    child.stdin.end()
    await once(child, 'exit')
    expect(asOwn).not.toContain(strangers)

    const stopped = await auditStoppedLab(lab, net)
    same(stopped, await auditStoppedLab(lab, net))
    await net.createNetns(`${lab.state.prefix}-px1-forgotten`)
    await net.apply(lab.netns(node, 'agent'), [
      { op: 'link.add-veth', dev: 'left0', peer: { name: 'left1' } },
      { op: 'addr.add', dev: 'left0', address: '192.0.2.1/32' },
      { op: 'redirect.set', from: 'left0', to: 'left1' },
    ])
    await writeFile(join(node.dir, 'agent', 'left.tmp'), '')
    const forgottenChild = spawn('nsenter', [`--net=${lab.netns(node, 'agent')}`, '--', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
    forgottenChild.stdin.write('it runs\n')
    await once(forgottenChild.stdout, 'data')
    const found = auditDifferences(stopped, await auditStoppedLab(lab, net))
    forgottenChild.stdin.end()
    await once(forgottenChild, 'exit')
    const forgotten = ['address', 'file', 'link', 'namespace', 'process', 'queueing discipline']
    expect(kinds(found)).toEqual(forgotten.map((kind) => `leaked ${kind}`))
    const texts = found.map(describeDifference)
    expect(texts).toContain(`leaked on node1: address 192.0.2.1/32 on left0 in ${node.dpuNetns}`)
    expect(texts).toContain('leaked on node1: file agent/left.tmp')
    expect(texts).toContain(`leaked on node1: process cat in ${node.dpuNetns}`)
    expect(texts).toContain(`leaked on node1: queueing discipline ingress on left0 in ${node.dpuNetns}, redirecting to left1`)

    await lab.start(node, 'agent')
    await lab.start(node, 'host')
    await e2e.addPod(node, 'p2')
    await e2e.addPod(node, 'p3', { name: 'net1' })
    const written = auditDifferences(stopped, await auditStoppedLab(lab, net))
      .map(describeDifference)
      .join('\n')
    for (const [pod, store] of [
      ['p2', 'delegate'],
      ['p3', 'hello'],
    ])
      for (const file of ['host/journal', 'agent/journal', store])
        expect(written).toMatch(new RegExp(`leaked on node1: journal row .*${file}\\.db: attachments .*${pod}`))
    expect(written).toMatch(/leaked on node1: lease host\/journal\.db: vfs .* state=leased/)
    expect(written).toMatch(/leaked on node1: lease 10\.244\.1\.\d+ of p2 eth0/)
    expect(written).toMatch(/leaked on node1: lease .*hello\.db: addresses subnet=10\.245\.1\.0\/24 .*p3/)
  }, 300_000)
})
