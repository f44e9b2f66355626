import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { needsRoot } from './fixture.ts'

const run = promisify(execFile)
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

test.skipIf(needsRoot).each(['delegate', 'hello', 'cilium'])(
  'the demo succeeds with adapter %s and says so in its JSON (needs root for namespaces)',
  async (adapter) => {
    const dir = await mkdtemp(join(tmpdir(), 'cni-offload-demo-test-'))
    try {
      const json = join(dir, 'demo.json')
      const { stdout } = await run(process.execPath, [cli, 'demo', '--adapter', adapter, '--json', json], { timeout: 120_000 })
      expect(stdout).toContain('nothing leaked')
      const report = JSON.parse(await readFile(json, 'utf8'))
      expect(report.nodes).toHaveLength(2)
      expect(report.pods).toHaveLength(4)
      expect(report.checks.length).toBeGreaterThan(30)
      expect(report.checks.filter((check: { ok: boolean }) => !check.ok)).toEqual([])
      expect(report.leaks).toEqual({ vfs: 0, ports: 0, netns: 0, links: 0, leases: 0 })
      expect(Object.keys(report.latencyMs)).toEqual(['add', 'check', 'del'])
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  },
  150_000,
)
