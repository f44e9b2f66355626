/**
 * Runs the tests of `e2e/vm` in a virtual machine, with a network card that has real virtual functions, and a kernel with IPsec.
 * Usage: node scripts/vm/main.ts [-t TITLE] [WORD …]; only files whose name contains one of the words. The last line has the counts.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { summarize } from '../lib/test-report.ts'
import { boot } from './boot.ts'
import { makeInitrd } from './initrd.ts'
import { findKernel } from './kernel.ts'
import { loadOrder } from './modules.ts'
import { missing } from './missing.ts'
import { qemuArguments, qemuEnvironment } from './qemu.ts'
import { readResults } from './results.ts'
import { taskScript } from './task.ts'

const MODULES = [
  // The host's files
  ...['virtio_pci', '9pnet_virtio', '9p', 'overlay'],
  // Cards
  ...['igb', 'igbvf', 'virtio_net', 'vfio_pci', 'vfio_iommu_type1', 'veth'],
  // IPsec; what templates make is not loaded by itself here.
  ...['esp4', 'xfrm_user', 'gcm', 'ctr', 'seqiv', 'echainiv', 'drbg', 'sha512_generic', 'ghash_generic', 'aesni_intel'],
]
const MEMORY_MIB = 2048
/** Booting and loading the sources take half a minute by themselves; many times that where the processors are busy. */
const LIMIT_SECONDS = 15 * 60
/** In which a machine that has given up has to be gone. */
const GRACE_SECONDS = 180

const workspace = join(import.meta.dirname, '../..')
const cache = join(workspace, '.cache/vm')
const debian = join(cache, 'debian')
const busybox = '/bin/busybox'

async function testFiles(words: readonly string[]): Promise<string[]> {
  const folder = join(workspace, 'e2e/vm')
  const names = (await readdir(folder)).filter((name) => name.endsWith('.test.ts')).toSorted()
  return names.filter((name) => words.length === 0 || words.some((word) => name.includes(word))).map((name) => join(folder, name))
}

async function runTests(files: readonly string[], title: string | undefined, signal: AbortSignal): Promise<number> {
  const share = join(cache, 'share')
  const compiled = join(share, 'compiled')
  await mkdir(compiled, { recursive: true })
  const run = await mkdtemp(join(share, 'run-'))
  try {
    const kernel = await findKernel(debian, busybox)
    const results = join(run, 'results')
    const initrd = join(run, 'initrd')
    const modules = await loadOrder(kernel.read, MODULES)
    await writeFile(initrd, makeInitrd({ modules, busybox: await readFile(busybox), share, run, seconds: LIMIT_SECONDS }))
    const bundle = join(workspace, '.cache/bundle/register.mjs')
    await writeFile(join(run, 'task'), taskScript({ workspace, node: process.execPath, files, title, results, bundle, compiled }))
    const log = join(cache, 'console.log')
    const machine = {
      root: debian,
      kernel: kernel.image,
      initrd,
      share,
      memory: MEMORY_MIB,
      processors: Math.min(2, availableParallelism()),
    }
    const broken = await boot({
      argv: [join(debian, 'usr/bin/qemu-system-x86_64'), ...qemuArguments(machine)],
      env: qemuEnvironment(debian),
      log,
      signal,
      onLine: (line) => console.log(line),
    })
    const summary = summarize(readResults(await readFile(results, 'utf8').catch(() => undefined), broken))
    for (const { file, title: skipped } of summary.skippedTitles) console.log(`skipped: ${relative(workspace, file)}: ${skipped}`)
    for (const reason of summary.brokenFiles)
      console.log(`failed outside of a test: ${reason} (${relative(workspace, log)} has its console)`)
    console.log(summary.line)
    return summary.failed === 0 ? 0 : 1
  } finally {
    await rm(run, { recursive: true, force: true })
  }
}

const { values, positionals } = parseArgs({ options: { t: { type: 'string', short: 't' } }, allowPositionals: true })
const files = await testFiles(positionals)
if (files.length === 0) throw new Error(`no file of e2e/vm has ${positionals.join(' or ')} in its name`)
const reason = await missing({ debian, busybox, memoryMib: MEMORY_MIB })
if (reason === undefined) {
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort(new Error(`stopped by ${name}`)))
  const late = AbortSignal.timeout((LIMIT_SECONDS + GRACE_SECONDS) * 1_000)
  process.exitCode = await runTests(files, values.t, AbortSignal.any([interrupted.signal, late]))
} else {
  for (const file of files) console.log(`skipped: ${relative(workspace, file)}: ${reason}`)
  console.log(`0 passed, 0 failed, ${files.length} skipped`)
}
