import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PeerIdentity, TlsFiles } from '@cni-offload/protocol'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'

/** An authority with the certificates that a test asks for, in a folder that goes with it. */
export class TestPki implements Disposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'agent-pki-'))

  static async create(): Promise<TestPki> {
    const pki = new TestPki()
    await createAuthority({ dir: join(pki.dir, 'ca') })
    return pki
  }

  issue(role: PeerIdentity['role'], node: string): Promise<TlsFiles> {
    return issueCertificate({ authority: join(this.dir, 'ca'), role, node, out: join(this.dir, `${role}-${node}`) })
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}
