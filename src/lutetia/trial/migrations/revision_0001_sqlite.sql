-- Tables, indexes and triggers of revision 0001, frozen; statements end with a line ;;
CREATE TABLE activity (
    "key" TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY ("key")
)
;;
CREATE TABLE administrations (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    nuclide TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    "planned_MBq" DOUBLE,
    "prescribed_MBq" DOUBLE,
    "administered_MBq" DOUBLE,
    "residual_MBq" DOUBLE,
    batch TEXT,
    prescription_version BIGINT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_administrations ON administrations (subject_id, cycle, nuclide)
;;
CREATE TABLE adverse_events (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    ae_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    started_on TEXT,
    ended_on TEXT,
    ongoing TEXT,
    term TEXT,
    code TEXT,
    system_organ_class TEXT,
    grade BIGINT,
    serious TEXT,
    seriousness TEXT,
    related TEXT,
    related_to TEXT,
    expected TEXT,
    aesi TEXT,
    action TEXT,
    outcome TEXT,
    aware_at TEXT,
    reported_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_adverse_events ON adverse_events (subject_id, ae_id, seq)
;;
CREATE TABLE allocations (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    scheme_id TEXT,
    stratum TEXT,
    position BIGINT,
    slot BIGINT,
    arm TEXT,
    draw TEXT,
    allocated_by TEXT,
    allocated_at TEXT,
    receipt TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_allocations ON allocations (subject_id)
;;
CREATE TABLE assessments (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    assessment TEXT NOT NULL,
    assessed_on TEXT,
    decision TEXT,
    findings TEXT,
    reason TEXT,
    decided_by TEXT,
    decided_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_assessments ON assessments (subject_id, cycle, assessment)
;;
CREATE TABLE attachments (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    attachment_id TEXT NOT NULL,
    subject_id TEXT,
    cycle BIGINT,
    kind TEXT,
    sha256 TEXT,
    name TEXT,
    media_type TEXT,
    added_by TEXT,
    added_at TEXT,
    state TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_attachments_subject_id ON attachments (subject_id)
;;
CREATE UNIQUE INDEX uq_attachments ON attachments (attachment_id)
;;
CREATE TABLE audit (
    sequence INTEGER NOT NULL,
    previous TEXT NOT NULL,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    session_id TEXT,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    table_name TEXT NOT NULL,
    record BIGINT,
    subject_id TEXT,
    site TEXT,
    body_hash TEXT NOT NULL,
    software TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (sequence),
    UNIQUE (hash)
)
;;
CREATE INDEX ix_audit_actor ON audit (actor)
;;
CREATE INDEX ix_audit_subject_id ON audit (subject_id)
;;
CREATE TABLE audit_bodies (
    sequence INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (sequence)
)
;;
CREATE TABLE audit_reviews (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    review_id BIGINT NOT NULL,
    audit_head TEXT,
    audit_sequence BIGINT,
    reviewed_by TEXT,
    reviewed_at TEXT,
    note TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_audit_reviews ON audit_reviews (review_id)
;;
CREATE TABLE baseline (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    item TEXT NOT NULL,
    value TEXT,
    unit TEXT,
    "on" TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_baseline ON baseline (subject_id, item)
;;
CREATE TABLE consents (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    consent_version TEXT NOT NULL,
    document_id TEXT,
    signed_on TEXT,
    withdrawn_on TEXT,
    taken_by TEXT,
    note TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_consents ON consents (subject_id, kind, consent_version)
;;
CREATE TABLE cycles (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    planned_on TEXT,
    state TEXT,
    state_on TEXT,
    reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_cycles ON cycles (subject_id, cycle)
;;
CREATE TABLE delegations (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    delegation_id TEXT NOT NULL,
    user_id TEXT,
    site TEXT,
    task TEXT,
    started_on TEXT,
    ended_on TEXT,
    delegated_by TEXT,
    signature_id TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_delegations ON delegations (delegation_id)
;;
CREATE TABLE deviations (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    deviation_id TEXT NOT NULL,
    "on" TEXT,
    kind TEXT,
    severity TEXT,
    description TEXT,
    reviewed_by TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_deviations ON deviations (subject_id, deviation_id)
;;
CREATE TABLE dicom_objects (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    subject_id TEXT,
    cycle BIGINT,
    series_uid TEXT,
    study_uid TEXT,
    frame_uid TEXT,
    modality TEXT,
    sop_class TEXT,
    taken_at TEXT,
    sha256 TEXT,
    sender TEXT,
    received_at TEXT,
    state TEXT,
    description TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_dicom_objects_subject_id ON dicom_objects (subject_id)
;;
CREATE UNIQUE INDEX uq_dicom_objects ON dicom_objects (sop_instance_uid)
;;
CREATE TABLE disposition (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    event TEXT NOT NULL,
    "on" TEXT NOT NULL,
    reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_disposition ON disposition (subject_id, event, "on")
;;
CREATE TABLE document_sites (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    document_id TEXT NOT NULL,
    site TEXT NOT NULL,
    approved_on TEXT,
    in_force_from_on TEXT,
    in_force_to_on TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_document_sites ON document_sites (document_id, site)
;;
CREATE TABLE documents (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    document_id TEXT NOT NULL,
    kind TEXT,
    title TEXT,
    version TEXT,
    sha256 TEXT,
    valid_from_on TEXT,
    valid_to_on TEXT,
    added_by TEXT,
    added_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_documents ON documents (document_id)
;;
CREATE TABLE doses (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT,
    scope TEXT NOT NULL,
    region TEXT NOT NULL,
    nuclide TEXT NOT NULL,
    method TEXT NOT NULL,
    basis TEXT,
    "absorbed_dose_Gy" DOUBLE,
    "absorbed_dose_sd_Gy" DOUBLE,
    "bed_Gy" DOUBLE,
    mass_g DOUBLE,
    result_sha256 TEXT,
    missing_reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_doses ON doses (subject_id, coalesce(cycle, -1), scope, region, nuclide, method)
;;
CREATE TABLE eligibility_items (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    item TEXT NOT NULL,
    answer TEXT,
    value TEXT,
    note TEXT,
    answered_by TEXT,
    answered_on TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_eligibility_items ON eligibility_items (subject_id, item)
;;
CREATE TABLE files (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT,
    media_type TEXT,
    name TEXT,
    added_by TEXT,
    added_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_files ON files (sha256)
;;
CREATE TABLE forecasts (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    version BIGINT NOT NULL,
    region TEXT NOT NULL,
    horizon TEXT NOT NULL,
    "absorbed_dose_Gy" DOUBLE,
    "absorbed_dose_sd_Gy" DOUBLE,
    "bed_Gy" DOUBLE,
    p_over_limit DOUBLE,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_forecasts ON forecasts (subject_id, cycle, version, region, horizon)
;;
CREATE TABLE grants (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    grant_id TEXT NOT NULL,
    user_id TEXT,
    role TEXT,
    site TEXT,
    granted_by TEXT,
    granted_at TEXT,
    ended_by TEXT,
    ended_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_grants ON grants (grant_id)
;;
CREATE TABLE jobs (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    kind TEXT,
    state TEXT,
    subject_id TEXT,
    cycle BIGINT,
    payload TEXT,
    created_by TEXT,
    created_at TEXT,
    started_at TEXT,
    finished_at TEXT,
    attempts BIGINT,
    worker TEXT,
    error TEXT,
    result TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_jobs_subject_id ON jobs (subject_id)
;;
CREATE UNIQUE INDEX uq_jobs ON jobs (job_id)
;;
CREATE TABLE labs (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    sample_id TEXT NOT NULL,
    analyte TEXT NOT NULL,
    taken_at TEXT,
    visit TEXT,
    qualifier TEXT,
    value TEXT,
    unit TEXT,
    lln TEXT,
    uln TEXT,
    missing_reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_labs ON labs (subject_id, sample_id, analyte)
;;
CREATE TABLE lesions (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    assessed_on TEXT NOT NULL,
    lesion TEXT NOT NULL,
    region TEXT,
    kind TEXT,
    diameter_mm DOUBLE,
    note TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_lesions ON lesions (subject_id, assessed_on, lesion)
;;
CREATE TABLE locks (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    lock_id BIGINT NOT NULL,
    level TEXT,
    subject_id TEXT,
    table_name TEXT,
    record BIGINT,
    state TEXT,
    locked_by TEXT,
    locked_at TEXT,
    unlocked_by TEXT,
    unlocked_at TEXT,
    reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_locks_subject_id ON locks (subject_id)
;;
CREATE UNIQUE INDEX uq_locks ON locks (lock_id)
;;
CREATE TABLE missing_reasons (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    record_key TEXT NOT NULL,
    field TEXT NOT NULL,
    subject_id TEXT,
    site TEXT,
    reason TEXT,
    note TEXT,
    recorded_by TEXT,
    recorded_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_missing_reasons_subject_id ON missing_reasons (subject_id)
;;
CREATE UNIQUE INDEX uq_missing_reasons ON missing_reasons (table_name, record_key, field)
;;
CREATE TABLE notices (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    notice_id BIGINT NOT NULL,
    user_id TEXT,
    role TEXT,
    site TEXT,
    kind TEXT,
    text TEXT,
    created_at TEXT,
    seen_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_notices ON notices (notice_id)
;;
CREATE TABLE overrides (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    version BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT,
    decision TEXT,
    reason TEXT,
    decided_at TEXT,
    signature_id TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_overrides ON overrides (subject_id, cycle, version, user_id)
;;
CREATE TABLE prescriptions (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    version BIGINT NOT NULL,
    nuclide TEXT NOT NULL,
    state TEXT,
    "base_MBq" DOUBLE,
    "proposed_MBq" DOUBLE,
    "prescribed_MBq" DOUBLE,
    category TEXT,
    reason TEXT,
    bound_by TEXT,
    proposed_by TEXT,
    proposed_at TEXT,
    signed_by TEXT,
    signed_at TEXT,
    override_by TEXT,
    override_reason TEXT,
    protocol_version TEXT,
    result_sha256 TEXT,
    inputs_sha256 TEXT,
    void_reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_prescriptions ON prescriptions (subject_id, cycle, version, nuclide)
;;
CREATE TABLE product_batches (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    batch TEXT NOT NULL,
    nuclide TEXT,
    product TEXT,
    site TEXT,
    supplier TEXT,
    "activity_MBq" DOUBLE,
    calibrated_at TEXT,
    expires_at TEXT,
    received_on TEXT,
    state TEXT,
    note TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_product_batches ON product_batches (batch)
;;
CREATE TABLE product_movements (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    batch TEXT NOT NULL,
    movement BIGINT NOT NULL,
    kind TEXT,
    moved_at TEXT,
    "activity_MBq" DOUBLE,
    subject_id TEXT,
    cycle BIGINT,
    moved_by TEXT,
    note TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_product_movements_subject_id ON product_movements (subject_id)
;;
CREATE UNIQUE INDEX uq_product_movements ON product_movements (batch, movement)
;;
CREATE TABLE quarantine (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    reason TEXT,
    sender TEXT,
    modality TEXT,
    received_at TEXT,
    state TEXT,
    decided_by TEXT,
    decided_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_quarantine ON quarantine (sha256)
;;
CREATE TABLE queries (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    query_id BIGINT NOT NULL,
    subject_id TEXT,
    site TEXT,
    table_name TEXT,
    record BIGINT,
    record_key TEXT,
    field TEXT,
    state TEXT,
    opened_by TEXT,
    opened_at TEXT,
    answered_at TEXT,
    closed_by TEXT,
    closed_at TEXT,
    source TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_queries_subject_id ON queries (subject_id)
;;
CREATE UNIQUE INDEX uq_queries ON queries (query_id)
;;
CREATE TABLE query_messages (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    query_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT,
    text TEXT,
    user_id TEXT,
    sent_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_query_messages ON query_messages (query_id, seq)
;;
CREATE TABLE randomisation_events (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    event BIGINT NOT NULL,
    kind TEXT,
    "on" TEXT,
    reason TEXT,
    impact TEXT,
    details TEXT,
    recorded_by TEXT,
    recorded_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_randomisation_events ON randomisation_events (subject_id, event)
;;
CREATE TABLE randomisation_list (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    scheme_id TEXT NOT NULL,
    stratum TEXT NOT NULL,
    position BIGINT NOT NULL,
    sealed TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_randomisation_list ON randomisation_list (scheme_id, stratum, position)
;;
CREATE TABLE randomisation_schemes (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    scheme_id TEXT NOT NULL,
    kind TEXT,
    specification TEXT,
    commitment TEXT,
    sealed_seed TEXT,
    state TEXT,
    generated_by TEXT,
    generated_at TEXT,
    opened_at TEXT,
    revealed_seed TEXT,
    revealed_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_randomisation_schemes ON randomisation_schemes (scheme_id)
;;
CREATE TABLE redactions (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    target BIGINT NOT NULL,
    fields TEXT,
    replacement TEXT,
    reason TEXT,
    proposed_by TEXT,
    proposed_at TEXT,
    confirmed_by TEXT,
    confirmed_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_redactions ON redactions (target)
;;
CREATE TABLE reports (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    report_id BIGINT NOT NULL,
    snapshot_id TEXT,
    kind TEXT,
    sha256 TEXT,
    software TEXT,
    created_by TEXT,
    created_at TEXT,
    audit_head TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_reports ON reports (report_id)
;;
CREATE TABLE responses (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    assessed_on TEXT NOT NULL,
    method TEXT,
    response TEXT,
    progression TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_responses ON responses (subject_id, assessed_on)
;;
CREATE TABLE results (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    state TEXT,
    inputs_sha256 TEXT,
    result_sha256 TEXT,
    report_sha256 TEXT,
    draws_sha256 TEXT,
    software TEXT,
    seed BIGINT,
    draws BIGINT,
    protocol_version TEXT,
    computed_by TEXT,
    computed_at TEXT,
    summary TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_results ON results (subject_id, cycle, revision)
;;
CREATE TABLE serious_events (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    ae_id TEXT NOT NULL,
    aware_at TEXT,
    due_at TEXT,
    reported_at TEXT,
    causality TEXT,
    causality_by TEXT,
    causality_at TEXT,
    expectedness TEXT,
    expectedness_by TEXT,
    expectedness_at TEXT,
    narrative TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_serious_events ON serious_events (subject_id, ae_id)
;;
CREATE TABLE sessions (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT,
    token_hash TEXT,
    started_at TEXT,
    ended_at TEXT,
    end_reason TEXT,
    second_factor TEXT,
    signed_at TEXT,
    address TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_sessions ON sessions (session_id)
;;
CREATE TABLE signature_records (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    signature_id BIGINT NOT NULL,
    table_name TEXT NOT NULL,
    record BIGINT NOT NULL,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_signature_records ON signature_records (signature_id, table_name, record)
;;
CREATE TABLE signatures (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    signature_id BIGINT NOT NULL,
    user_id TEXT,
    name TEXT,
    role TEXT,
    meaning TEXT,
    signed_at TEXT,
    session_id TEXT,
    digest TEXT,
    audit_head TEXT,
    state TEXT,
    voided_at TEXT,
    void_reason TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_signatures ON signatures (signature_id)
;;
CREATE TABLE sites (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    site TEXT NOT NULL,
    name TEXT,
    country TEXT,
    timezone TEXT,
    state TEXT,
    opened_on TEXT,
    closed_on TEXT,
    dicom_senders TEXT,
    consent_version TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_sites ON sites (site)
;;
CREATE TABLE snapshots (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    snapshot_id TEXT NOT NULL,
    cut_on TEXT,
    extracted_at TEXT,
    sha256 TEXT,
    audit_head TEXT,
    audit_sequence BIGINT,
    file_sha256 TEXT,
    created_by TEXT,
    purpose TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_snapshots ON snapshots (snapshot_id)
;;
CREATE TABLE study (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    study_id TEXT NOT NULL,
    title TEXT,
    protocol_name TEXT,
    protocol_version TEXT,
    demonstration TEXT,
    settings TEXT,
    created_at TEXT,
    files TEXT,
    state TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_study ON study (study_id)
;;
CREATE TABLE subjects (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    site TEXT,
    arm TEXT,
    stratum_entered TEXT,
    stratum_true TEXT,
    sex TEXT,
    age_years DOUBLE,
    height_cm DOUBLE,
    weight_kg DOUBLE,
    randomised_on TEXT,
    protocol_version TEXT,
    "prior_kidney_Gy" DOUBLE,
    "prior_marrow_Gy" DOUBLE,
    state TEXT,
    state_on TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_subjects ON subjects (subject_id)
;;
CREATE TABLE treatments (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    started_on TEXT NOT NULL,
    ended_on TEXT,
    agent TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_treatments ON treatments (subject_id, kind, started_on)
;;
CREATE TABLE truth (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    cycle BIGINT,
    quantity TEXT NOT NULL,
    item TEXT,
    nuclide TEXT,
    value TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_truth ON truth (subject_id, coalesce(cycle, -1), quantity, coalesce(item, ''), coalesce(nuclide, ''))
;;
CREATE TABLE users (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT,
    email TEXT,
    state TEXT,
    password_hash TEXT,
    totp_secret TEXT,
    totp_confirmed_at TEXT,
    failures BIGINT,
    last_failure_at TEXT,
    locked_at TEXT,
    locked_until TEXT,
    password_changed_at TEXT,
    must_change TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_users ON users (user_id)
;;
CREATE TABLE verifications (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    record BIGINT NOT NULL,
    verified_version BIGINT NOT NULL,
    subject_id TEXT,
    site TEXT,
    verified_by TEXT,
    verified_at TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE INDEX ix_verifications_subject_id ON verifications (subject_id)
;;
CREATE UNIQUE INDEX uq_verifications ON verifications (table_name, record, verified_version)
;;
CREATE TABLE visits (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    visit TEXT NOT NULL,
    cycle BIGINT,
    due_on TEXT,
    window_from_on TEXT,
    window_to_on TEXT,
    done_on TEXT,
    state TEXT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_visits ON visits (subject_id, visit)
;;
CREATE TABLE vitals (
    record_id INTEGER NOT NULL,
    record_version INTEGER NOT NULL,
    subject_id TEXT NOT NULL,
    taken_on TEXT NOT NULL,
    weight_kg DOUBLE,
    ecog BIGINT,
    further TEXT,
    PRIMARY KEY (record_id)
)
;;
CREATE UNIQUE INDEX uq_vitals ON vitals (subject_id, taken_on)
;;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'audit: rows are never changed or removed'); END
;;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'audit: rows are never changed or removed'); END
;;
CREATE TRIGGER audit_in_sequence BEFORE INSERT ON audit FOR EACH ROW WHEN NEW.sequence <> (SELECT COALESCE(MAX(sequence), 0) + 1 FROM audit) BEGIN SELECT RAISE(ABORT, 'audit: out of sequence'); END
;;
CREATE TRIGGER audit_bodies_no_update BEFORE UPDATE ON audit_bodies FOR EACH ROW WHEN NOT (EXISTS (SELECT 1 FROM redactions r WHERE r.target = OLD.sequence AND r.replacement = NEW.body
 AND r.confirmed_by IS NOT NULL AND r.confirmed_by <> r.proposed_by) AND NEW.sequence = OLD.sequence) BEGIN SELECT RAISE(ABORT, 'audit_bodies: rows are never changed or removed'); END
;;
CREATE TRIGGER audit_bodies_no_delete BEFORE DELETE ON audit_bodies FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'audit_bodies: rows are never changed or removed'); END
;;
CREATE TRIGGER audit_bodies_once BEFORE INSERT ON audit_bodies FOR EACH ROW WHEN EXISTS (SELECT 1 FROM audit_bodies b WHERE b.sequence = NEW.sequence) BEGIN SELECT RAISE(ABORT, 'audit_bodies: out of sequence'); END
;;
CREATE TRIGGER users_kept BEFORE DELETE ON users FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'users: rows are never changed or removed'); END
;;
CREATE TRIGGER grants_kept BEFORE DELETE ON grants FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'grants: rows are never changed or removed'); END
;;
CREATE TRIGGER sessions_kept BEFORE DELETE ON sessions FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'sessions: rows are never changed or removed'); END
;;
CREATE TRIGGER signatures_kept BEFORE DELETE ON signatures FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'signatures: rows are never changed or removed'); END
;;
CREATE TRIGGER signature_records_kept BEFORE DELETE ON signature_records FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'signature_records: rows are never changed or removed'); END
;;
CREATE TRIGGER allocations_kept BEFORE DELETE ON allocations FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'allocations: rows are never changed or removed'); END
;;
CREATE TRIGGER redactions_kept BEFORE DELETE ON redactions FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'redactions: rows are never changed or removed'); END
