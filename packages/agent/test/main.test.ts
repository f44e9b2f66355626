import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createOffloadClient, type TlsFiles } from '@cni-offload/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, rejection } from './support/bench.ts'
import { TestPki } from './support/pki.ts'

const MAIN = new URL('../src/main.ts', import.meta.url).pathname
const PLUGINS = new URL('support/plugins.ts', import.meta.url).pathname

let pki: TestPki
let tls: TlsFiles
let hostTls: TlsFiles
beforeAll(async () => {
  pki = await TestPki.create()
  tls = await pki.issue('agent', 'n1')
  hostTls = await pki.issue('host', 'n1')
})
afterAll(() => {
  pki[Symbol.dispose]()
})

const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

interface Started extends AsyncDisposable {
  readonly child: ChildProcess
  readonly exit: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
  /** Resolves with the first record of the log that has the text. */
  logged(text: string): Promise<string>
}

const start = (...args: string[]): Started => {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const lines: string[] = []
  const waiting = new Set<() => void>()
  let stdout = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line)
    for (const wake of waiting) wake()
  })
  const exit = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    child.once('close', (code) => {
      resolve({ code, stdout, stderr: lines.join('\n') })
    })
  })
  return {
    child,
    exit,
    logged: (text) =>
      Promise.race([
        new Promise<string>((resolve) => {
          const look = (): void => {
            const found = lines.find((line) => line.includes(text))
            if (found !== undefined) resolve(found)
          }
          waiting.add(look)
          look()
        }),
        exit.then(({ code, stderr }) => {
          throw new Error(`it ended with ${code} before it said ${text}: ${stderr}`)
        }),
      ]),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exit
    },
  }
}

let configs = 0
const configure = async (adapter: object = {}): Promise<{ file: string; address: string }> => {
  const address = `tcp://127.0.0.1:${await freePort()}`
  const file = join(pki.dir, `agent-${configs++}.yaml`)
  writeFileSync(
    file,
    JSON.stringify({
      node: 'n1',
      listen: address,
      tls,
      stateDir: `state-${configs}`,
      hardware: { plugin: PLUGINS },
      adapters: [{ network: '*', plugin: PLUGINS, export: 'fakeNet', ...adapter }],
    }),
  )
  return { file, address }
}

describe('offload-agent', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('serves by its configuration and stops in order at %s', async (signal) => {
    const { file, address } = await configure()
    await using agent = start('--config', file)
    const record = JSON.parse(await agent.logged('"to":"RUNNING"')) as Record<string, unknown>
    expect(record).toMatchObject({ component: 'agent', node: 'n1', listen: address, networks: ['*'] })
    await using client = createOffloadClient({ address, tls: hostTls, node: 'n1' })
    expect((await client.attach(call('a', 0), { signal: new AbortController().signal })).port).toBe('port0')
    agent.child.kill(signal)
    const { code, stdout, stderr } = await agent.exit
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toContain('"to":"STOPPED"')
    expect(stderr).toMatch(/"key":"podnet\/a\/eth0"/)
    expect(stderr).toMatch(/"requestId":"/)
  })

  test('a second signal stops it at once', async () => {
    const { file, address } = await configure({ options: { hangs: true } })
    await using agent = start('--config', file)
    await agent.logged('"to":"RUNNING"')
    await using client = createOffloadClient({ address, tls: hostTls, node: 'n1' })
    const reply = rejection(client.attach(call('a', 0), { signal: new AbortController().signal }))
    await agent.logged('hanging')
    agent.child.kill('SIGTERM')
    await agent.logged('"to":"DRAINING"')
    agent.child.kill('SIGTERM')
    const { code, stderr } = await agent.exit
    expect(code).toBe(1)
    expect(stderr).not.toContain('"to":"STOPPED"')
    await reply
  })

  test('a wrong configuration is explained and ends with 2', async () => {
    const { file } = await configure({ plugin: 7 })
    await using agent = start('--config', file)
    const { code, stderr, stdout } = await agent.exit
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toBe(`offload-agent: ${file}: adapters.0.plugin = 7: a package name or the path of a module`)
  })

  test.each([[[]], [['--config']], [['--bogus']]])('%j is a usage error', async (args) => {
    await using agent = start(...args)
    const { code, stderr } = await agent.exit
    expect(code).toBe(2)
    expect(stderr).toContain('--help')
  })

  test('--help', async () => {
    await using agent = start('--help')
    const { code, stdout } = await agent.exit
    expect(code).toBe(0)
    expect(stdout).toContain('usage: offload-agent --config FILE')
  })
})
