import { X509Certificate } from 'node:crypto'
import { type FSWatcher, readFileSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { type Logger, OffloadError } from '@cni-offload/sdk'
import type { TlsFiles } from '../api.ts'

/** Certificates and key as read: the options of a TLS context, and when the own certificate ends. */
export interface TlsMaterial {
  /** For `tls.createSecureContext`; TLS 1.3 only. */
  readonly options: SecureContextOptions
  /** When the own certificate stops to be valid. */
  readonly notAfter: Date
}

const HINT = 'Make certificates with `offload pki`, or correct the paths under "tls".'

const read = (name: keyof TlsFiles, path: string): Buffer => {
  try {
    return readFileSync(path)
  } catch (error) {
    throw OffloadError.from(error, 'INVALID_CONFIG', `tls.${name} = ${JSON.stringify(path)} can't be read`)
  }
}

/**
 * Reads the three files and makes sure that they belong together.
 *
 * @throws OffloadError INVALID_CONFIG that names the file
 */
export function loadTls(files: TlsFiles): TlsMaterial {
  const ca = read('ca', files.ca)
  const cert = read('cert', files.cert)
  const key = read('key', files.key)
  const options: SecureContextOptions = { ca, cert, key, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' }
  try {
    new X509Certificate(ca)
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `tls.ca = ${JSON.stringify(files.ca)} is not a PEM certificate`, { cause: error, hint: HINT })
  }
  let own: X509Certificate
  try {
    own = new X509Certificate(cert)
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `tls.cert = ${JSON.stringify(files.cert)} is not a PEM certificate`, {
      cause: error,
      hint: HINT,
    })
  }
  try {
    createSecureContext(options)
  } catch (error) {
    const message = `tls.key = ${JSON.stringify(files.key)} is not the private key of tls.cert = ${JSON.stringify(files.cert)}`
    throw new OffloadError('INVALID_CONFIG', message, { cause: error, hint: HINT })
  }
  return { options, notAfter: own.validToDate }
}

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/**
 * What is wrong with the own certificate for a client, as far as one can tell without asking the peer.
 *
 * @param now - milliseconds since the epoch
 */
export function ownProblem(material: TlsMaterial, now: number = Date.now()): string | undefined {
  const own = new X509Certificate(material.options.cert as Buffer)
  const ca = new X509Certificate(material.options.ca as Buffer)
  if (own.validToDate.getTime() < now) return `own certificate has expired on ${own.validToDate.toISOString()}`
  if (own.validFromDate.getTime() > now) return `own certificate is not valid yet, before ${own.validFromDate.toISOString()}`
  // Node's types do not know that a certificate without the extension has no usages at all.
  const usages = own.keyUsage as readonly string[] | undefined
  if (usages !== undefined && !usages.includes(CLIENT_AUTH)) return 'own certificate is not for TLS clients'
  if (!own.checkIssued(ca) || !own.verify(ca.publicKey)) return 'own certificate was not issued by the authority in tls.ca'
  return undefined
}

/** TLS files that are read again when they change. */
export interface TlsWatch extends Disposable {
  /** The newest that was complete and consistent. */
  readonly current: TlsMaterial
}

/** How long to let a burst of changes (three files, one after the other) settle, in milliseconds. */
const SETTLE_MS = 50
/** How often to look without being told, in milliseconds: some file systems report nothing. */
const POLL_MS = 30_000

/**
 * Reads TLS files now and again whenever they change on disk.
 *
 * The folders are watched and not the files: renames over them, and the symbolic links that Kubernetes swaps for mounted
 * secrets, replace the files. A set that does not fit together yet (certificate written, key not) is left alone until it does.
 *
 * @param onChange - called with each new set
 * @throws OffloadError INVALID_CONFIG if the files are not usable now
 */
export function watchTls(files: TlsFiles, log: Logger, onChange: (material: TlsMaterial) => void): TlsWatch {
  let current = loadTls(files)
  let settle: NodeJS.Timeout | undefined
  const reload = (): void => {
    settle = undefined
    try {
      const next = loadTls(files)
      const same = (['ca', 'cert', 'key'] as const).every((part) => (next.options[part] as Buffer).equals(current.options[part] as Buffer))
      if (same) return
      current = next
      log.info({ cert: files.cert, notAfter: next.notAfter.toISOString() }, 'certificates reloaded')
      onChange(next)
    } catch (error) {
      log.warn({ err: error }, 'changed certificates are not usable yet, the previous ones stay in use')
    }
  }
  const changed = (): void => {
    settle ??= setTimeout(reload, SETTLE_MS).unref()
  }
  const watchers: FSWatcher[] = []
  for (const folder of new Set([files.ca, files.cert, files.key].map((file) => dirname(file)))) {
    try {
      const watcher = watch(folder, { persistent: false }, changed)
      // A folder that goes away ends its watch only; polling still notices when it is back.
      watcher.on('error', (error) => log.warn({ err: error, folder }, 'certificates are polled, their folder can no longer be watched'))
      watchers.push(watcher)
    } catch (error) {
      log.warn({ err: error, folder }, 'certificates are polled, their folder cannot be watched')
    }
  }
  const poll = setInterval(reload, POLL_MS).unref()
  return {
    get current() {
      return current
    },
    [Symbol.dispose]() {
      clearInterval(poll)
      clearTimeout(settle)
      for (const watcher of watchers) watcher.close()
    },
  }
}
