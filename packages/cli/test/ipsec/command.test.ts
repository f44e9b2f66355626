import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parseKey } from '@cni-offload/adapter-cilium/ipsec'
import { exec } from '@cni-offload/testing'
import { FakeKubectl, forbidden, prints } from '@cni-offload/testing/kubectl'
import { describe, expect, it } from 'vitest'
import { agentsOn, askOn, GET_NODES, GET_PODS, GET_SECRET, nodesWith, secretWith, someKey, statusOf } from './support.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const ipsec = (fake: FakeKubectl | undefined, ...args: readonly string[]): ReturnType<typeof exec> => {
  const [verb = '', ...rest] = args
  const kubectl = fake === undefined ? [] : ['--kubectl', fake.executable]
  return exec([process.execPath, MAIN, 'ipsec', verb, ...kubectl, ...rest], { timeoutMs: 100_000 })
}

describe('offload ipsec', { timeout: 240_000 }, () => {
  it('enables, rotates and tells the status of a cluster', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect('create -f -', prints('secret/cilium-ipsec-keys created'))
      .expect(GET_SECRET, prints(secretWith(someKey(4))))
      .expect(GET_NODES, prints(nodesWith({ a: 4 })))
      .expect('replace -f -', prints(''))
      .expect(GET_PODS, prints(agentsOn('a')))
      .expect(askOn('a'), prints(statusOf(9)))
      .expect(GET_NODES, forbidden('list', 'ciliumnodes.cilium.io'))
    const enabled = await ipsec(fake, 'enable')
    expect([enabled.code, enabled.stderr]).toEqual([0, ''])
    expect(enabled.stdout).toContain('encryption.enabled=true')
    const rotated = await ipsec(fake, 'rotate', '--json')
    expect(JSON.parse(rotated.stdout)).toEqual({ from: 4, to: 5, written: true })
    const status = await ipsec(fake, 'status', '--json')
    expect(status.code).toBe(0)
    expect(JSON.parse(status.stdout)).toMatchObject({
      all: { encrypted: { answer: 'yes' }, inHardware: { answer: 'unknown' } },
      nodes: [{ subject: 'a' }],
      'nodes send with': expect.stringContaining('Forbidden'),
    })
    fake.verify()
  })

  it('verifies by exit code', async () => {
    await using fake = await FakeKubectl.start()
    let sent = 1
    fake
      .expect(GET_PODS, prints(agentsOn('a')), { times: 2 })
      .expect(askOn('a'), () => prints(statusOf((sent += 1))), { times: 2 })
      .expect(askOn('a'), prints({ mode: 'Disabled' }), { times: 'any' })
    const good = await ipsec(fake, 'verify', '--', 'true')
    expect([good.code, good.stderr]).toEqual([0, ''])
    expect(good.stdout).toContain('highest sequence number: 2 → 3')
    const bad = await ipsec(fake, 'verify', '--within', '1')
    expect([bad.code, bad.stdout.includes('encrypted: no: the agent has no encryption')]).toEqual([1, true])
    fake.verify()
  })

  it('reads what other commands have printed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ipsec-'))
    try {
      const file = join(folder, 'status')
      await writeFile(
        file,
        'Node: a\nEncryption: IPsec\nIPsec keys in use: 2\nIPsec highest Seq. Number: 0x9/0xff\n\nNode: b\nEncryption: Disabled\n',
      )
      const nodes = await ipsec(undefined, 'status', '--from', file, '--json')
      expect(JSON.parse(nodes.stdout)).toMatchObject({
        all: { encrypted: { answer: 'partly' } },
        nodes: [
          { subject: 'a', encrypted: { answer: 'yes' } },
          { subject: 'b', encrypted: { answer: 'no' } },
        ],
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('can be interrupted while it waits for what others have printed', async () => {
    const child = spawn(process.execPath, [MAIN, 'ipsec', 'status', '--from', '-'], { stdio: ['pipe', 'ignore', 'pipe'] })
    try {
      const [said, ended] = [text(child.stderr), once(child, 'exit', { signal: AbortSignal.timeout(120_000) })]
      // More than fits into a pipe: when it is gone, the command reads.
      await promisify((all: string, done: (error?: Error | null) => void) => child.stdin.write(all, done))('\n'.repeat(1 << 20))
      child.kill('SIGINT')
      expect(await ended).toEqual([1, null])
      expect(await said).toContain('interrupted by SIGINT')
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('prints a key only where that is asked for', async () => {
    const [shown, wrong] = await Promise.all([
      ipsec(undefined, 'enable', '--dry-run', '--show-key', '--spi', '15'),
      ipsec(undefined, 'enable', '--show-key'),
    ])
    expect(parseKey(/keys: (.*)/.exec(shown.stdout)?.[1] ?? '')).toMatchObject({ spi: 15 })
    expect([wrong.code, wrong.stdout, wrong.stderr]).toEqual([1, '', expect.stringContaining('--dry-run')])
  })
})
